"""Proof that a table is whole: everything is read back and held against what it should be.

A shard's id is a hash of the clips that went into it. Recomputing it from the rows of `clips` and
`errors` shows that every one of them came out, once, and nothing else did; no list of inputs has
to be kept for that.

Nothing is read in Arrow's threads: they let go of the bytes of a file of Python's late, and one
that does so while the process ends aborts it.
"""

from pipeline.maintenance.inventory import committed_shards
from pipeline.maintenance.shard_check import _WAY_OUT, _Verifier
from pipeline.maintenance.verify_report import Report
from pipeline.sources.listing import Listing
from pipeline.table.table import Table
from pipeline.table_layout import TEMP_DIR
from pipeline.wording import count


def verify_table(table: Table, source: Listing | None = None) -> Report:
    """Read a table back and check all of it.

    Args:
        table: the table.
        source: the source's listing, to check that the table holds exactly it. What is in a
            container is not read again: its version is compared.
    """
    files = table.files()
    committed = committed_shards(table, files)
    verifier = _Verifier(table, files, source)
    for shard in sorted(committed):
        verifier.check_shard(shard)
    verifier.check_replaced(committed)
    report = verifier.report
    if not committed:
        report.problems.append("no shard is committed")
    report.problems += [
        f"{name}: is of no committed shard, but plain readers see its rows; {_WAY_OUT}"
        for name in table.orphans(committed, files)
    ]
    for name in table.strangers():
        if name.endswith(".parquet"):
            report.problems.append(
                f"{name}: is no file of passtream's, but plain readers see its rows; move it "
                "elsewhere (it is never deleted)"
            )
        else:
            report.notes.append(f"{name}: is no file of passtream's, and is left alone")
    if leftovers := table.store.names(TEMP_DIR):
        report.notes.append(
            f"{count(len(leftovers), 'temporary file')} in {TEMP_DIR}; a run is writing, or the "
            "next one clears them"
        )
    if report.duplicate_vectors:
        embeddings = count(report.duplicate_vectors, "embedding equals", "embeddings equal")
        report.notes.append(f"{embeddings} an earlier clip's")
    if source is not None:
        verifier.check_source(source)
    return report
