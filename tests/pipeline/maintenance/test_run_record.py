"""`run_record`: what a run says of itself is read back, and nothing else is."""

import dataclasses
import json
import time

import pytest

from pipeline.clips import ClipRef, Container
from pipeline.errors import StoreError
from pipeline.maintenance.run_record import RUN_NAME, RunState, read_run, shortened, write_run
from pipeline.maintenance.verify import verify_table
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import Plan, PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.store.process_id import Process

CLIPS = [ClipRef(f"file:///{i}.wav", "1") for i in range(5)]
OPTIONS = PlanOptions("spec", 2)


def test_a_run_that_begins_tells_its_plan():
    before_s = time.time()
    shards = plan_run(Listing(CLIPS), KnownShards(), OPTIONS).pending
    plan = plan_run(Listing(CLIPS), KnownShards({shards[0].shard_id: shards[0].clips}), OPTIONS)
    begun = RunState.begun(plan)
    # 5 clips by 2: shards of 2, 2 and 1, of which the first is done.
    assert (begun.shards, begun.shards_done, begun.shards_todo, begun.clips_todo) == (3, 1, 2, 3)
    assert before_s - 0.001 <= begun.started_s <= time.time() + 0.001
    assert begun.process == Process.this()
    assert (begun.ended_s, begun.outcome, begun.failed, begun.error) == (None, None, {}, "")


def test_clips_that_only_reading_will_tell_are_not_told():
    tar = Container("file:///a.tar", "1", "tar")
    assert (
        RunState.begun(plan_run(Listing(CLIPS, [tar]), KnownShards(), OPTIONS)).clips_todo is None
    )


def test_it_is_read_back_and_replaced_whole(new_table):
    store = new_table().store
    assert read_run(store) is None
    begun = RunState.begun(Plan((), ("a", "b")))
    write_run(store, begun)
    assert read_run(store) == begun
    ended = dataclasses.replace(
        begun,
        ended_s=begun.started_s + 0.125,
        outcome="shards_failed",
        n_failed=7,
        failed={"a": "disk [full]", "ä": "kaputt"},
    )
    write_run(store, ended)
    assert read_run(store) == ended


def test_what_a_later_version_adds_is_passed_over(new_table):
    store = new_table().store
    begun = RunState.begun(Plan((), ()))
    content = dataclasses.asdict(begun) | {"mood": "good"}
    store.put_if_absent(RUN_NAME, json.dumps(content).encode())
    assert read_run(store) == begun


@pytest.mark.parametrize(
    "change",
    [{"started_s": "yesterday"}, {"process": None}, {"process": {"host": "a"}}, {"shards": None},
     {"clips_todo": "all"}, {"outcome": "fine"}, {"failed": ["a"]}, {"ended_s": "now"}],
)  # fmt: skip
def test_a_field_that_is_none_of_ours_is_named(new_table, change):
    store = new_table().store
    content = dataclasses.asdict(RunState.begun(Plan((), ()))) | change
    store.put_if_absent(RUN_NAME, json.dumps(content).encode())
    with pytest.raises(
        StoreError, match=rf"run\.json: not the state of a run: {next(iter(change))}"
    ):
        read_run(store)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
def test_a_damaged_one_is_named(new_table, content):
    store = new_table().store
    store.put_if_absent(RUN_NAME, content)
    with pytest.raises(StoreError, match=r"run\.json: not the state of a run"):
        read_run(store)


def test_a_reason_of_any_length_is_kept_short():
    assert shortened("x" * 1000) == "x" * 1000
    assert shortened("x" * 1001) == "x" * 1000 + "..."


def test_a_table_with_it_is_as_whole_as_without(new_table, embed, write_clip, tmp_path):
    table = new_table()
    embed(table, [write_clip(tmp_path / "a.wav", 500)])
    before = verify_table(table)
    write_run(table.store, RunState.begun(Plan((), ())))
    after = verify_table(table)
    assert after.passed
    assert after == before
    assert new_table().commits.ids() == table.commits.ids()
