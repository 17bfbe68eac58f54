"""`passtream bench plan`: time and memory of listing, planning and resuming a large corpus.

The listing is synthetic, behind the interface of all sources, so the response time of a store is
not included. The table to resume is real, in the folder for temporary files.
"""

import dataclasses
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.bench.benchmark import Report, cpu_name
from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import Plan, PlanOptions, plan_run, plan_shards
from pipeline.progress import Counts
from pipeline.sources.list_sources import join_sources
from pipeline.sources.listing import Listing
from pipeline.table.commit_record import CommitRecord
from pipeline.table.spec import Route, TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from pipeline.table_layout import commit_name

SHARD_CLIPS = 256
"""Number of clips per shard of the plans."""
_FILES_PER_FOLDER = 1000
_SPEC = TableSpec((Route("none", 10.0, "random:0", "0" * 64, 320),), 1, 1, 1, 10.0, 2.5)


class _SyntheticSource:
    """A source of n synthetic objects in a bucket, sorted or, with a seed, in random order."""

    def __init__(self, n_objects: int, seed: int | None = None) -> None:
        self._order = list(range(n_objects))
        if seed is not None:
            random.Random(seed).shuffle(self._order)  # noqa: S311 (not for cryptography)

    def clips(self) -> Iterator[ClipRef]:
        for n in self._order:
            name = f"s3://bucket/corpus/{n // _FILES_PER_FOLDER:06}/recording-{n:010}.flac"
            yield ClipRef(name, f"{n:032x}")

    def containers(self) -> tuple[Container, ...]:
        return ()

    def columns(self) -> tuple[str, ...]:
        return ()

    def skipped(self) -> Counter[str]:
        return Counter()

    def notes(self) -> list[str]:
        """Return no notes."""
        return []


def run_plan_bench(n_objects: int, n_records: int, report: Report = print) -> None:
    """List and plan, twice in different orders, then resume; report a Markdown table.

    Args:
        n_objects: Number of objects in the listing.
        n_records: Number of committed shards of the table that is resumed.
        report: Function that is called with each line of the report.

    Raises:
        UsageError: There are no records, or fewer objects than records.
    """
    if not 1 <= n_records <= n_objects:
        raise UsageError(
            f"records must be 1 to objects, {n_objects}, as a record is of one object or more "
            f"(got {n_records})"
        )
    report(cpu_name())
    report("")
    report("| step | seconds | peak memory so far, MB |")
    report("|---|---|---|")
    with _report_time(f"list {n_objects:,} objects and plan them", report):
        listing, plan = _list_and_plan(_SyntheticSource(n_objects), SHARD_CLIPS, set())
    ids = [shard.shard_id for shard in plan.pending]
    del listing, plan
    with _report_time("the same in another order", report):
        _, plan = _list_and_plan(_SyntheticSource(n_objects, seed=0), SHARD_CLIPS, set())
    is_same = ids == [shard.shard_id for shard in plan.pending]
    del plan, ids
    with tempfile.TemporaryDirectory() as folder:
        _resume(Path(folder) / "table", n_objects, n_records, report)
    report("")
    report(f"the plan in another order is {'the same' if is_same else 'DIFFERENT'}")


def _list_and_plan(
    source: _SyntheticSource, shard_clips: int, committed: set[str]
) -> tuple[Listing, Plan]:
    listing = Listing()
    join_sources([source], listing)
    shards = KnownShards(dict.fromkeys(committed, ()))  # the listing contains all of them
    return listing, plan_run(listing, shards, PlanOptions(_SPEC.digest, shard_clips))


def _resume(root: Path, n_objects: int, n_records: int, report: Report) -> None:
    """Write a table with n commit records, then find, plan and read them, and report the times."""
    table = Table.open_or_create(LocalStore(root), _SPEC)
    source, shard_clips = _SyntheticSource(n_objects), n_objects // n_records
    for shard in plan_shards(source.clips(), _SPEC.digest, shard_clips)[:n_records]:
        n = len(shard.clips)
        files = {f"clips/{shard.shard_id}.parquet": 3072 * n}
        record = CommitRecord(shard.shard_id, n, {"clips": n, "errors": 0}, {}, 10.0 * n, n, files)
        # `Table.commits` would wait for the disk at each record, which takes minutes.
        Path(table.store.locate(commit_name(shard.shard_id))).write_text(
            json.dumps(dataclasses.asdict(record))
        )
    counts = Counts()
    with _report_time(f"resume: find {n_records:,} commit records", report):
        committed = table.commits.ids()
    with _report_time(f"resume: list and plan {n_objects:,} objects around them", report):
        _, plan = _list_and_plan(source, shard_clips, committed)
    assert len(plan.done) == n_records
    with _report_time(f"read {n_records:,} commit records for the totals", report):
        for record in table.commits.records(sorted(committed)):
            counts.add(record.counts)
    assert counts.clips == sum(1 for _ in source.clips()) - (plan.n_clips or 0)


@contextmanager
def _report_time(step: str, report: Report) -> Iterator[None]:
    """Open a block, and report its time and the peak memory of the process as a row."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    # On Linux ru_maxrss is in KiB.
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report(f"| {step} | {seconds:.1f} | {peak_bytes / 1e6:.0f} |")
