"""`pipeline.maintenance.run_status`: how far a run is, from its table alone."""

import dataclasses
import json
import time
import uuid
from collections import Counter

import pytest

from pipeline.clips import ClipRef
from pipeline.io.storage import Storage
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.run_record import RUN_NAME, RunState, write_run
from pipeline.maintenance.run_status import RECENT_S, SILENT_S, run_status
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.commit_record import CommitRecord
from pipeline.table.store.process_id import Process
from pipeline.table.store.remote import RemoteStore
from pipeline.table.table import Table
from pipeline.table_layout import commit_name

ELSEWHERE = Process("elsewhere", 7, "another machine")
BEGAN_S = 1_800_000_000.0
"""When the runs began whose commits have times that the test gives."""


@pytest.fixture
def clips(write_clip, tmp_path):
    """Four clips; the last one is gone."""
    written = [write_clip(tmp_path / f"{i}.wav", 3200) for i in range(3)]
    return [*written, ClipRef((tmp_path / "gone.wav").as_uri(), "missing")]


@pytest.fixture
def begin(clips):
    """Notes that a run begins that has all four clips before it, a shard each."""

    def begin(table, **changes):
        plan = plan_run(Listing(clips), take_inventory(table), PlanOptions(table.spec.digest, 1))
        run = dataclasses.replace(RunState.begun(plan), **changes)
        write_run(table.store, run)
        return run

    return begin


def commit_at(table, seconds, n_clips=10, audio_s=100.0, began_s=BEGAN_S):
    """Commit a shard for each second after a run's begin."""
    for second in seconds:
        shard = uuid.uuid4().hex
        record = CommitRecord(shard, n_clips, {"clips": n_clips}, {}, audio_s, n_clips, {})
        content = dataclasses.asdict(record) | {"writer": {"finished_s": began_s + second}}
        table.store.put_if_absent(commit_name(shard), json.dumps(content).encode())


def timed(n_shards, clips_todo=None, **changes):
    return RunState(BEGAN_S, ELSEWHERE, "", n_shards, 0, clips_todo, **changes)


def test_an_empty_table_has_a_status(new_table):
    status = run_status(new_table())
    assert (status.standing, status.shards, status.run, status.writer) == ("unknown", 0, None, None)
    assert (status.recent, status.overall, status.left_s, status.last_commit_s) == (None,) * 4


def test_a_run_under_way(new_table, begin, embed, clips):
    table = new_table()
    with table.store.lock():
        run = begin(table)
        records = embed(table, clips[2:], shard_clips=1)
        status = run_status(table)
    assert status.standing == "running"
    assert (status.writer.host, status.writer.pid) == (run.process.host, run.process.pid)
    assert (status.shards, status.run.shards, status.run.clips_todo) == (2, 4, 4)
    # One clip of 3200 samples, and one that is missing.
    assert (status.counts.clips, status.counts.audio_s) == (2, 0.1)
    assert status.counts.errors == Counter(missing=1)
    assert status.counts.windows == sum(record.windows for record in records)
    assert run.started_s <= status.last_commit_s <= status.now_s
    assert status.overall == status.recent
    assert (status.overall.shards, status.overall.clips) == (2, 2)
    # Two of four clips are left, at that speed.
    assert status.left_s == pytest.approx(2 / status.recent.clips_per_s)


def test_a_run_that_was_killed_elsewhere_is_taken_for_dead_when_it_is_silent(
    new_table, begin, embed, clips
):
    table = new_table()
    begin(table, process=ELSEWHERE)
    embed(table, clips[:2], shard_clips=1)
    last_s = run_status(table).last_commit_s
    at_once = run_status(table, last_s + SILENT_S)
    assert (at_once.standing, at_once.writer, at_once.left_s is None) == (
        "perhaps_running",
        None,
        False,
    )
    later = run_status(table, last_s + SILENT_S + 1)
    assert (later.standing, later.left_s, later.shards) == ("not_running", None, 2)


def test_a_run_that_was_killed_here_is_known_to_be_dead(new_table, begin, start_python):
    ended = start_python("")
    ended.communicate()
    table = new_table()
    begin(table, process=dataclasses.replace(Process.this(), pid=ended.pid))
    assert run_status(table).standing == "not_running"


def test_a_table_that_another_run_holds_is_not_the_killed_ones(new_table, begin):
    table = new_table()
    begin(table, process=ELSEWHERE)
    with table.store.lock():
        status = run_status(table)
    assert (status.standing, status.writer.pid) == ("not_running", Process.this().pid)


@pytest.mark.parametrize("outcome", ["finished", "stopped", "shards_failed", "error"])
def test_a_run_that_ended_says_how_whoever_holds_the_table(new_table, begin, outcome):
    table = new_table()
    begin(table, ended_s=time.time(), outcome=outcome)
    with table.store.lock():
        assert run_status(table).standing == outcome
    status = run_status(table, time.time() + 9 * SILENT_S)
    assert (status.standing, status.left_s) == (outcome, None)


def test_a_lease_that_has_ended_is_nobodys(make_spec, begin):
    store = RemoteStore(f"memory://{uuid.uuid4().hex}/table", Storage(), lease_s=0.5)
    table = Table.open_or_create(store, make_spec())
    with store.lock():
        begin(table)
        assert run_status(table).standing == "running"
    status = run_status(table)
    # This process lives, and nothing says that it is at something else by now.
    assert (status.standing, status.writer) == ("perhaps_running", None)


def test_a_steady_run_has_one_speed(new_table):
    table = new_table()
    write_run(table.store, timed(n_shards=100, clips_todo=1000))
    commit_at(table, range(20, 1001, 20))
    status = run_status(table, BEGAN_S + 1000)
    # 50 commits of 10 clips and 100 s, one in 20 s.
    assert (status.overall.wall_s, status.overall.shards) == (1000, 50)
    assert (status.recent.wall_s, status.recent.shards) == (RECENT_S, RECENT_S / 20)
    for speed in (status.recent, status.overall):
        assert (speed.x_real_time, speed.clips_per_s) == (5, 0.5)
    assert status.left_s == 500 / 0.5


def test_a_run_that_slows_down_shows_it(new_table):
    table = new_table()
    write_run(table.store, timed(n_shards=20))
    commit_at(table, [100, 200, 300, 400, 1000])
    status = run_status(table, BEGAN_S + 1000)
    assert (status.overall.wall_s, status.overall.shards) == (1000, 5)
    # Nothing came for ten minutes but what came at their end.
    assert (status.recent.wall_s, status.recent.shards) == (600, 1)
    # Clips are not known: 15 shards, one in 600 s.
    assert status.left_s == 15 * 600


def test_a_run_has_the_speed_of_its_own_commits(new_table):
    table = new_table()
    commit_at(table, [-5000, -4990, -4980])
    write_run(table.store, dataclasses.replace(timed(n_shards=13, clips_todo=100), shards_done=3))
    nothing_yet = run_status(table, BEGAN_S + 1)
    assert (nothing_yet.recent, nothing_yet.overall, nothing_yet.left_s) == (None, None, None)
    assert nothing_yet.last_commit_s == BEGAN_S - 4980
    commit_at(table, [50])
    status = run_status(table, BEGAN_S + 60)
    assert status.shards == 4
    assert status.recent == status.overall
    assert (status.overall.wall_s, status.overall.shards) == (50, 1)
    assert status.left_s == 90 / (10 / 50)  # of 100 clips, 10 in 50 s


def test_without_a_note_the_commits_alone_tell(new_table):
    table = new_table()
    commit_at(table, [0])
    assert run_status(table).recent is None
    commit_at(table, [10, 20])
    status = run_status(table)
    assert (status.standing, status.overall, status.left_s) == ("unknown", None, None)
    assert (status.recent.wall_s, status.recent.shards) == (20, 2)


def test_records_of_older_versions_have_no_time(new_table):
    table = new_table()
    record = CommitRecord("5" * 32, 3, {"clips": 3}, {}, 1.5, 3, {}, writer={"seconds": 1.0})
    content = json.dumps(dataclasses.asdict(record)).encode()
    table.store.put_if_absent(commit_name("5" * 32), content)
    status = run_status(table)
    assert (status.shards, status.counts.clips, status.counts.audio_s) == (1, 3, 1.5)
    assert (status.last_commit_s, status.recent) == (None, None)


def test_a_damaged_note_is_told_beside_the_rest(new_table, embed, clips):
    table = new_table()
    embed(table, clips)
    table.store.put_if_absent(RUN_NAME, b"{")
    status = run_status(table)
    assert (status.standing, status.shards, status.run) == ("unknown", 1, None)
    assert "run.json: not the state of a run" in status.notes[0]


def test_nothing_is_written(new_table, begin, embed, clips):
    table = new_table()
    begin(table)
    embed(table, clips)
    paths = sorted(table.store.root.rglob("*"))
    before = [(path, path.stat().st_mtime_ns) for path in paths]
    run_status(table)
    after = sorted(table.store.root.rglob("*"))
    assert [(path, path.stat().st_mtime_ns) for path in after] == before


def test_for_programs(new_table, begin, embed, clips):
    table = new_table()
    with table.store.lock():
        run = begin(table)
        embed(table, clips, shard_clips=1)
        told = json.loads(json.dumps(run_status(table).to_json()))
    assert told["standing"] == "running"
    assert (told["shards"], told["clips"], told["errors"]) == (4, 3, {"missing": 1})
    assert told["writer"] == {"host": run.process.host, "pid": run.process.pid}
    assert told["run"]["shards_todo"] == told["run"]["shards"] == 4
    assert told["run"]["process"] == dataclasses.asdict(run.process)
    # The four clips count for the speed, the missing one too.
    assert told["overall"]["clips"] == 4
    assert told["overall"]["clips_per_s"] == pytest.approx(4 / told["overall"]["wall_s"])
    assert told["left_s"] == 0
