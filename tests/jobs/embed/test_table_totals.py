"""Tests of `TableTotals`, which finds changes that other runs made to the table."""

import io
import shutil

import pytest
from rich.console import Console

from jobs.embed.table_totals import TableTotals
from jobs.runtime.run_log import RunLog
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import Listing
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from tests.support import QUICK, passtream, write_tones

N_CLIPS = 3


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with a corpus and two tables of it, which have different numbers of shards."""
    folder = tmp_path_factory.mktemp("totals")
    write_tones(folder / "corpus", [0.5] * N_CLIPS)
    for name, shard_clips in (("own", 1), ("other", N_CLIPS)):
        command = ("embed", folder / "corpus", folder / name, *QUICK, "--in-process")
        done = passtream(*command, "--shard-clips", shard_clips)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(tables, tmp_path):
    """A run on an undamaged table: the table, its totals, the plan, the log and the log text."""
    shutil.copytree(tables / "own", tmp_path / "table")
    table = Table.existing(LocalStore(tmp_path / "table"))
    clips = list_sources([str(tables / "corpus")]).clips
    with table.store.lock() as table.commits.hold:
        inventory = take_inventory(table)
        plan = plan_run(Listing(clips), inventory, PlanOptions(table.spec.digest, 1))
        log_text = io.StringIO()
        log = RunLog(Console(file=log_text, width=200))
        yield table, TableTotals(table, inventory, plan), plan, log, log_text


def test_shard_committed_by_a_run_that_lost_the_table_leaves_no_duplicate_rows(
    run, tables, tmp_path
):
    table, totals, plan, log, log_text = run
    for source in sorted((tables / "other").rglob("*")):
        target = tmp_path / "table" / source.relative_to(tables / "other")
        if source.is_file() and not target.exists():
            shutil.copy(source, target)
    assert len(table.commits.ids()) == N_CLIPS + 1
    assert totals.final(plan, log).clips == N_CLIPS
    assert (
        "another run, which had lost this table, committed 1 shard during this run"
        in log_text.getvalue()
    )
    assert "the duplicate rows of its clips are removed" in log_text.getvalue()
    report = verify_table(Table.existing(table.store))
    assert report.passed, report.problems
    assert report.clips == N_CLIPS


def test_missing_commit_records_are_reported_and_not_counted(run, tmp_path):
    _, totals, plan, log, log_text = run
    (tmp_path / "table" / "_passtream" / "commits" / f"{min(plan.done)}.json").unlink()
    assert totals.final(plan, log).clips == N_CLIPS - 1
    assert totals.n_gone == 1
    assert "the records of 1 committed shard are gone" in log_text.getvalue()


def test_table_without_changes_by_other_runs_logs_nothing(run):
    _, totals, plan, log, log_text = run
    assert totals.final(plan, log).clips == N_CLIPS
    assert (totals.n_gone, log_text.getvalue()) == (0, "")
