"""A corpus as files, tars and Parquet for the tests of containers, and functions to embed it."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import Container
from pipeline.embedding.embed_shard import embed_shard
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals
from pipeline.planning.plan import Plan, PlanOptions, plan_run
from pipeline.readers.shard_reader import container_recordings, shard_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import Listing, SourceOptions
from pipeline.stream.packets import shard_packets
from pipeline.table.table import Table
from tests.pipeline.conftest import StatisticsModel

HF_AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def wav(n: int = 500, seed: int = 0) -> bytes:
    """Return noise as a 32 kHz float WAV, which decodes bit-exactly.

    Args:
        n: Number of samples.
        seed: Seed of the noise.
    """
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, subtype="FLOAT", format="WAV")
    return file.getvalue()


def corpus(n: int, first_seed: int = 0) -> dict[str, bytes]:
    """Return `n` WAVs of different lengths by name."""
    return {f"{i:03}.wav": wav(400 + 10 * i, seed=i) for i in range(first_seed, first_seed + n)}


def write_tar(path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """Write a tar with the compression of its ending."""
    compression = path.suffix[1:] if path.suffix != ".tar" else ""
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(path, f"w:{compression}") as tar:
        for name, content in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_parquet(
    path: Path, clips: Mapping[str, bytes], row_group: int = 4, **columns: Iterable[object]
) -> Path:
    """Write clips to a Parquet file as Hugging Face's datasets do."""
    rows = [{"bytes": content, "path": name} for name, content in clips.items()]
    features = {"audio": {"_type": "Audio", "sampling_rate": SAMPLE_RATE_HZ}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table(
        {"audio": pa.array(rows, HF_AUDIO), **{k: list(v) for k, v in columns.items()}}
    )
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=row_group)
    return path


def listed(*sources: Path, **options: object) -> Listing:
    return list_sources([str(source) for source in sources], SourceOptions(**options))


def read(container: Container, columns: tuple[str, ...] = ()) -> tuple[dict[str, bytes], list]:
    """Return the bytes of each clip of a container by member, and its ClipRefs.

    A clip that cannot be read has `class: message` of its error instead of its bytes.
    """
    found, refs = {}, []
    for recording in container_recordings(container, DEFAULT_STORAGE, columns):
        refs.append(recording.clips[0])
        try:
            with recording.open(1 << 30) as file:
                assert file.tell() == 0
                found[recording.clips[0].member] = Path(f"/dev/fd/{file.fileno()}").read_bytes()
        except Exception as error:
            found[recording.clips[0].member] = f"{error.error_class}: {error}"
    assert len(found) == len(refs)
    return found, refs


def read_all(
    path: Path, columns: tuple[str, ...] = (), **options: object
) -> tuple[dict[str, bytes], dict[str, tuple[str | None, ...]]]:
    """Return the bytes and the carried texts of each row of a Parquet file, by member."""
    found, texts = {}, {}
    for container in listed(path, columns=columns or None, **options).containers:
        contents, refs = read(container, columns)
        assert not found.keys() & contents.keys()
        found |= contents
        texts |= {ref.member: ref.carried for ref in refs}
    return found, texts


def plan(table: Table, listing: Listing) -> Plan:
    return plan_run(listing, take_inventory(table), PlanOptions(table.spec.digest, 100))


def embed_pending(table: Table, listing: Listing, max_shards: int | None = None) -> int:
    """Embed the pending shards of a listing, up to `max_shards`; return their number."""
    pending = apply_removals(table, plan(table, listing)).pending[:max_shards]
    for shard in pending:
        recordings = shard_recordings(shard, DEFAULT_STORAGE, table.spec.columns)
        packets = shard_packets(recordings, table.spec.decode_rule)
        embed_shard(shard, packets, StatisticsModel(), table)
    return len(pending)


def rows(table: Table, name: str = "clips") -> list[dict[str, object]]:
    """Return all rows of one of the tables (`clips`, `windows`, ...), sorted by uri and member."""
    paths = sorted((table.store.path(name)).glob("*.parquet"))
    found = [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]
    return sorted(found, key=lambda row: (row["uri"], row["member"]))
