"""Verifying a table: everything is read back and compared with what it should be.

A shard's id is a hash of the clips that it was made of. Computing it again from the rows of `clips`
and `errors` proves that every clip is there once, and no other clip. No list of inputs is needed.

Arrow's threads are never used for reading. They release the bytes of a Python file late, and a
thread that does so while the process ends aborts it.
"""

from pipeline.maintenance.inventory import committed_shards
from pipeline.maintenance.shard_check import _WAY_OUT, ShardChecker
from pipeline.maintenance.verify_report import Report
from pipeline.sources.listing import Listing
from pipeline.table.table import Table
from pipeline.table_layout import TEMP_DIR
from pipeline.wording import count


def verify_table(table: Table, source: Listing | None = None) -> Report:
    """Read a table back and check all of it.

    Args:
        table: The table.
        source: Listing of the source, to check that the table holds exactly its clips; None for no
            check. Containers are not read again; their versions are compared.
    """
    files = table.files()
    committed = committed_shards(table, files)
    verifier = ShardChecker(table, files, source)
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
