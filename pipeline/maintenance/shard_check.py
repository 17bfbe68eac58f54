"""The checks of `verify`: each shard's record, files and rows, and the whole against its source."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips import ClipRef
from pipeline.errors import StoreError
from pipeline.maintenance.carried_columns import rows_of, values_of
from pipeline.maintenance.row_checks import (
    clip_problems,
    empty_file,
    label_problems,
    matrix,
    read_row_groups,
    show_some,
    timestamp_problems,
    tuples,
    vector_problems,
    window_problems,
)
from pipeline.maintenance.verify_report import Report
from pipeline.shards import shard_id
from pipeline.sources.listing import Listing
from pipeline.table.commit_record import CommitRecord
from pipeline.table.schema import VECTOR_OUTPUTS, schemas
from pipeline.table.table import CLIP_COLUMNS, Table
from pipeline.table_layout import DATA_DIRS, data_name

_WAY_OUT = (
    "run the same `passtream embed` again, or, if it is not to go on, `passtream verify --repair`"
)
_EMBED_AGAIN = (
    "run the same `passtream embed` again, which embeds its clips again (`passtream verify "
    "--repair` only drops its record)"
)


class ShardChecker:
    """Checks of one shard after the other, which fill a report.

    Args:
        table: The table.
        files: Names and sizes in bytes of the data files, by folder.
        source: Listing of the source; None for no comparison.

    Attributes:
        report: The report so far.
    """

    def __init__(
        self, table: Table, files: Mapping[str, Mapping[str, int]], source: Listing | None
    ) -> None:
        self.report = Report()
        self._columns = source.columns if source else ()
        self._values = values_of(source) if source and source.columns else {}
        self._stale: list[str] = []  # uris whose rows have other values than the source
        self._table = table
        self._schemas = schemas(table.spec)
        self._sizes = {
            f"{folder}/{name}": size for folder in DATA_DIRS for name, size in files[folder].items()
        }
        self._ids: set[str] = set()
        # Versions by uri and member of clips, and by uri and part of containers.
        self._versions: dict[tuple[str, str], str] = {}
        self._containers: dict[tuple[str, str], str] = {}
        self._vectors: set[int] = set()
        self._replaced: dict[str, str] = {}  # by which shard

    def check_shard(self, shard: str) -> None:
        """Check a shard against its commit record."""
        try:
            record = next(self._table.commits.records([shard], or_gone=True), None)
            if record is None:
                return  # a listing that lags still names it
            self._replaced.update(dict.fromkeys(record.replaces, shard))
            with contextlib.ExitStack() as stack:
                files = {name: self._open(name, shard, record, stack) for name in self._schemas}
                self._check_files(shard, record, files)
        except (StoreError, OSError, pa.ArrowException) as error:
            self._problem(shard, str(error))

    def _problem(self, shard: str, text: str) -> None:
        self.report.problems.append(f"shard {shard}: {text}")

    def _open(
        self, name: str, shard: str, record: CommitRecord, stack: contextlib.ExitStack
    ) -> pq.ParquetFile:
        file = data_name(name, shard)
        if file not in record.files and record.rows.get(name) == 0:
            return empty_file(self._schemas[name])
        if (size := self._sizes.get(file)) != record.files.get(file):
            size = self._table.store.size(file)  # by its name, as a listing may lag
        if size is None:
            raise StoreError(f"{file} is gone; {_EMBED_AGAIN}")
        if size != (committed_size := record.files.get(file)):
            raise StoreError(
                f"{file} has {size} bytes, its commit says {committed_size}; {_EMBED_AGAIN}"
            )
        # A buffer for the whole file would stay in memory until the file is closed.
        source = stack.enter_context(self._table.store.open(file))
        opened = pq.ParquetFile(source, pre_buffer=False)
        if not opened.schema_arrow.equals(self._schemas[name]):
            raise StoreError(f"{file} does not have the columns of the table's spec")
        return opened

    def _check_files(
        self, shard: str, record: CommitRecord, files: dict[str, pq.ParquetFile]
    ) -> None:
        spec = self._table.spec
        rows = {
            name: file.read(use_threads=False)
            for name, file in files.items()
            if name != "timestamps"
        }
        self.report.shards += 1
        self._check_record(shard, record, rows, files)
        self._check_identity(shard, record, rows)
        problems = [clip_problems(rows["clips"], spec)]
        for name in ("clips", "windows"):
            if name in rows:
                problems += self._output_problems(name, rows[name])
        if "windows" in rows:
            problems.append(window_problems(rows["clips"], rows["windows"], spec))
        if "timestamps" in files:
            groups = read_row_groups(files["timestamps"])
            problems.append(timestamp_problems(rows["clips"], groups, spec))
        for problem in itertools.chain.from_iterable(problems):
            self._problem(shard, problem)
        if self._values and not record.container:
            self._stale += [
                key[0]
                for key, there in rows_of(rows["clips"], self._columns)
                if self._values.get(key, there) != there
            ]
        if "embedding" in rows["clips"].column_names:
            self._count_duplicates(matrix(rows["clips"]["embedding"]))
        self._count(rows, files)

    def _output_problems(self, name: str, rows: pa.Table) -> list[Iterator[str]]:
        spec = self._table.spec
        problems = [
            vector_problems(f"{name}.{column}", rows[column])
            for column in VECTOR_OUTPUTS
            if column in spec.outputs
        ]
        if "labels" in spec.outputs:
            labels = rows["labels"]
            problems.append(label_problems(f"{name}.labels", labels, spec.top_k, spec.n_classes))
        return problems

    def _check_record(
        self,
        shard: str,
        record: CommitRecord,
        rows: dict[str, pa.Table],
        files: dict[str, pq.ParquetFile],
    ) -> None:
        for file in (data_name(name, shard) for name in DATA_DIRS):
            if file not in record.files and file in self._sizes:
                self._problem(
                    shard, f"{file}: its commit does not name it, but plain readers see its rows"
                )
        for name, opened in files.items():
            if (n_rows := opened.metadata.num_rows) != record.rows.get(name):
                self._problem(
                    shard, f"{name} has {n_rows} rows, its commit {record.rows.get(name)}"
                )
        if (n_windows := sum(rows["clips"]["n_windows"].to_pylist())) != record.windows:
            self._problem(shard, f"clips have {n_windows} windows, its commit {record.windows}")
        found = rows["clips"].num_rows + rows["errors"].num_rows
        if found != record.clips:
            self._problem(shard, f"{record.clips} clips went in, {found} came out")

    def _check_identity(self, shard: str, record: CommitRecord, rows: dict[str, pa.Table]) -> None:
        refs = [ref for name in ("clips", "errors") for ref in _refs(rows[name])]
        if shard_id(self._table.spec.digest, record.container or refs) != shard:
            self._problem(shard, "its rows are not of the clips that the shard was made of")
        container = record.container
        if container and any(
            (ref.uri, ref.version) != (container.uri, container.version) for ref in refs
        ):
            self._problem(shard, f"it has rows of something else than {container.uri!r}")
        # A row that stands for an unreadable part has the name of the part.
        n_clips = container.n_clips if container else None
        is_whole = not container or all(ref.member != container.part for ref in refs)
        if n_clips not in (None, len(refs)) and is_whole:
            self._problem(shard, f"{n_clips} clips are in its container, {len(refs)} came out")
        for name in rows:
            stored = rows[name]["clip_id"].to_pylist()
            if stored != [ref.clip_id for ref in _refs(rows[name])]:
                self._problem(shard, f"{name}: clip ids do not belong to their uris")
        if container:
            self._containers[container.uri, container.part] = container.version
        ids = {ref.clip_id: ref.name for ref in refs}
        if twice := [name for clip_id, name in ids.items() if clip_id in self._ids]:
            self._problem(
                shard,
                "clips are there more than once, in other shards, too: "
                f"{show_some(twice)}; {_WAY_OUT}",
            )
        for name, n in Counter(ref.name for ref in refs).items():
            if n > 1:
                self._problem(shard, f"{name!r} is there more than once")
        self._ids.update(ids)
        if not container:
            self._versions.update({(ref.uri, ref.member): ref.version for ref in refs})

    def _count_duplicates(self, vectors: npt.NDArray[np.float32]) -> None:
        for vector in vectors:
            # 64 bits: 100 million clips have a false duplicate with a chance of 1 in 3,700.
            key = hash(vector.tobytes())
            self.report.duplicate_vectors += key in self._vectors
            self._vectors.add(key)

    def _count(self, rows: dict[str, pa.Table], files: dict[str, pq.ParquetFile]) -> None:
        report = self.report
        report.clips += rows["clips"].num_rows
        report.audio_s += sum(rows["clips"]["duration_s"].to_pylist())
        report.sample_rates_hz.update(rows["clips"]["sample_rate_hz"].to_pylist())
        report.errors.update(rows["errors"]["class"].to_pylist())
        if "windows" in files:
            report.windows += files["windows"].metadata.num_rows
        if "timestamps" in files:
            report.timestamps += files["timestamps"].metadata.num_rows

    def check_replaced(self, committed: set[str]) -> None:
        """Report committed shards that other shards have replaced."""
        for shard in sorted(committed & self._replaced.keys()):
            self._problem(
                shard, f"shard {self._replaced[shard]} has replaced it, and it is there; {_WAY_OUT}"
            )

    def check_source(self, source: Listing) -> None:
        """Compare the clips and containers of all shards with the source."""
        found = self._versions | self._containers
        listed = {(ref.uri, ref.member): ref.version for ref in source.clips}
        listed |= {(each.uri, each.part): each.version for each in source.containers}
        unknown = {(ref.uri, ref.member) for ref in source.clips if ref.is_out_of_reach}
        missing = [uri for uri, part in listed if (uri, part) not in found]
        changed = [
            key[0]
            for key, version in listed.items()
            if found.get(key, version) != version and key not in unknown
        ]
        gone = [uri for uri, part in found if (uri, part) not in listed]
        if missing:
            self.report.problems.append(
                f"clips of the source not in the table: {show_some(missing)}"
            )
        if changed:
            self.report.problems.append(
                f"clips changed since they were embedded: {show_some(changed)}"
            )
        if unknown:
            self.report.notes.append(
                "clips whose host does not answer, so that they may have changed: "
                f"{show_some(uri for uri, _ in unknown)}"
            )
        if self._stale:
            self.report.problems.append(
                f"clips whose {', '.join(self._columns)} in the table are not those of the source: "
                f"{show_some(self._stale)}; the same `passtream embed` again updates them"
            )
        if gone:
            self.report.notes.append(
                f"clips in the table no longer in the source: {show_some(gone)}"
            )


def _refs(rows: pa.Table) -> list[ClipRef]:
    return [ClipRef(*values) for values in tuples(rows, CLIP_COLUMNS)]
