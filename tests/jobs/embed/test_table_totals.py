"""`table_totals`: what a run finds at its end that another one has done to its table meanwhile."""

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
    """A corpus, and its table as two runs make it that cut it into different shards."""
    folder = tmp_path_factory.mktemp("totals")
    write_tones(folder / "corpus", [0.5] * N_CLIPS)
    for name, shard_clips in (("ours", 1), ("theirs", N_CLIPS)):
        command = ("embed", folder / "corpus", folder / name, *QUICK, "--in-process")
        done = passtream(*command, "--shard-clips", shard_clips)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(tables, tmp_path):
    """A run that finds its own table whole: the table, its totals, its plan, its log."""
    shutil.copytree(tables / "ours", tmp_path / "table")
    table = Table.existing(LocalStore(tmp_path / "table"))
    clips = list_sources([str(tables / "corpus")]).clips
    with table.store.lock() as table.commits.hold:
        found = take_inventory(table)
        plan = plan_run(Listing(clips), found, PlanOptions(table.spec.digest, 1))
        told = io.StringIO()
        log = RunLog(Console(file=told, width=200))
        yield table, TableTotals(table, found, plan), plan, log, told


def test_a_shard_that_a_run_committed_which_had_lost_the_table_leaves_no_clip_twice(
    run, tables, tmp_path
):
    table, totals, plan, log, told = run
    for source in sorted((tables / "theirs").rglob("*")):
        place = tmp_path / "table" / source.relative_to(tables / "theirs")
        if source.is_file() and not place.exists():
            shutil.copy(source, place)
    assert len(table.commits.ids()) == N_CLIPS + 1
    assert totals.final(plan, log).clips == N_CLIPS
    assert "another run, which had lost this table, committed 1 shard meanwhile" in told.getvalue()
    assert "each clip has one row again" in told.getvalue()
    report = verify_table(Table.existing(table.store))
    assert report.passed, report.problems
    assert report.clips == N_CLIPS


def test_records_that_are_gone_at_the_end_are_told_and_not_counted(run, tmp_path):
    _, totals, plan, log, told = run
    (tmp_path / "table" / "_passtream" / "commits" / f"{min(plan.done)}.json").unlink()
    assert totals.final(plan, log).clips == N_CLIPS - 1
    assert totals.n_gone == 1
    assert "the records of 1 committed shard are gone" in told.getvalue()


def test_a_table_that_nobody_else_touched_says_nothing(run):
    _, totals, plan, log, told = run
    assert totals.final(plan, log).clips == N_CLIPS
    assert (totals.n_gone, told.getvalue()) == (0, "")
