"""Tests of `Scheduler`: the shard of each actor, and the attempt that may commit."""

import pytest

from jobs.cluster.scheduler import MIN_STRAGGLER_S, Scheduler
from jobs.cluster.shard_task import ShardTask
from pipeline.clips import ClipRef, Container
from pipeline.shards import Shard

SHARDS = [Shard(f"{i:02}", ()) for i in range(8)]


def shard_ids(attempts):
    return [each.task.shard.shard_id for each in attempts]


def take_all(scheduler, actor, n_slots=4, n_actors=1, now_s=0.0):
    attempts = []
    while attempt := scheduler.take(actor, n_slots, n_actors, now_s):
        attempts.append(attempt)
    return attempts


def commit(scheduler, attempt, now_s):
    assert scheduler.may_commit(attempt)
    return scheduler.record_commit(attempt, now_s)


def test_actor_fills_its_slots_in_the_order_of_the_shards():
    scheduler = Scheduler(SHARDS)
    assert shard_ids(take_all(scheduler, "a", 3)) == ["00", "01", "02"]
    assert (scheduler.n_open, scheduler.n_waiting, scheduler.busy) == (3, 5, {"a"})


def test_largest_shards_come_first_and_shards_of_unknown_size_last():
    clips = [ClipRef(name, "1", n_bytes=size) for name, size in (("a", 5), ("b", 6), ("c", None))]
    shards = [
        Shard("unknown", (clips[2],)),
        Shard("tar", (), Container("/a.tar", "1", n_bytes=9)),
        Shard("small", (clips[0], clips[2])),
        Shard("large", (clips[0], clips[1])),
    ]
    assert shard_ids(take_all(Scheduler(shards), "a")) == ["large", "tar", "small", "unknown"]


@pytest.mark.parametrize("order", ["abc", "cab"])
def test_actor_that_is_ready_first_leaves_their_share_to_the_others(order):
    scheduler = Scheduler(SHARDS[:5])
    assert sorted(len(take_all(scheduler, actor, 16, 3)) for actor in order) == [1, 2, 2]


def test_no_actor_gets_two_shards_if_there_are_fewer_shards_than_actors():
    scheduler = Scheduler(SHARDS[:2])
    assert [shard_ids(take_all(scheduler, actor, 4, 4)) for actor in "abcd"] == [
        ["00"],
        ["01"],
        [],
        [],
    ]


def test_shard_that_runs_alone_shares_no_actor():
    scheduler = Scheduler([])
    alone = ShardTask(SHARDS[0], actor_deaths=2)
    scheduler.requeue(ShardTask(SHARDS[1]))
    scheduler.requeue(alone)
    scheduler.requeue(ShardTask(SHARDS[2]))
    assert shard_ids(take_all(scheduler, "a")) == [
        "01",
        "02",
    ]  # the shard that runs alone is skipped
    assert shard_ids(take_all(scheduler, "b")) == ["00"]
    scheduler.requeue(ShardTask(SHARDS[3]))
    assert take_all(scheduler, "b") == []


def schedule_straggler():
    """Return a scheduler with one open shard, at the actor `slow`, and the attempt at it."""
    scheduler = Scheduler(SHARDS[:3])
    (slow,) = take_all(scheduler, "slow", 1)
    for started_s in (0.0, 5.0):
        (quick,) = take_all(scheduler, "quick", 1, 3, started_s)
        commit(scheduler, quick, started_s + 5.0)
    return scheduler, slow


def test_idle_actor_gets_a_backup_attempt_of_a_straggler():
    scheduler, slow = schedule_straggler()
    assert scheduler.n_without_backup == 1
    assert scheduler.take("quick", 1, 3, MIN_STRAGGLER_S) is None  # too early
    assert scheduler.take("slow", 2, 3, 60.0) is None  # the attempt is its own
    backup = scheduler.take("quick", 1, 3, 60.0)
    assert backup.task == slow.task
    assert scheduler.take("other", 1, 3, 90.0) is None  # there is a backup attempt
    assert (scheduler.n_without_backup, scheduler.n_open) == (0, 1)


def test_there_is_no_straggler_before_the_first_commit():
    scheduler = Scheduler(SHARDS[:1])
    take_all(scheduler, "slow")
    assert scheduler.take("idle", 1, 2, 1e6) is None


def test_large_shard_is_no_straggler_within_its_expected_time():
    sizes = [10_000, 10, 10]
    clips = [ClipRef(f"/{i}", "1", n_bytes=size) for i, size in enumerate(sizes)]
    scheduler = Scheduler([Shard(str(i), (clip,)) for i, clip in enumerate(clips)])
    take_all(scheduler, "slow", 1)
    for _ in range(2):
        (quick,) = take_all(scheduler, "quick", 1, 3)
        commit(scheduler, quick, 1.0)
    assert scheduler.take("quick", 1, 3, 1000.0) is None
    assert shard_ids([scheduler.take("quick", 1, 3, 2001.0)]) == ["0"]


@pytest.mark.parametrize("first_is_slow", [True, False])
def test_only_the_attempt_that_finishes_first_commits(first_is_slow):
    scheduler, slow = schedule_straggler()
    backup = scheduler.take("quick", 1, 3, 60.0)
    winner, loser = (slow, backup) if first_is_slow else (backup, slow)
    assert scheduler.may_commit(winner)
    assert not scheduler.may_commit(loser)
    assert scheduler.record_commit(winner, 70.0) == [loser]
    assert scheduler.n_open == 0
    assert scheduler.busy == {loser.actor}  # until its attempt ends
    assert not scheduler.may_commit(loser)
    assert not scheduler.end(loser)
    assert not scheduler.busy


def test_failed_attempt_leaves_the_commit_to_the_backup():
    scheduler, slow = schedule_straggler()
    backup = scheduler.take("quick", 1, 3, 60.0)
    assert scheduler.may_commit(slow)
    assert not scheduler.end(slow)  # its commit failed
    assert scheduler.may_commit(backup)
    assert scheduler.record_commit(backup, 70.0) == []


def test_shard_without_an_attempt_left_can_be_requeued():
    scheduler = Scheduler(SHARDS[:1])
    (only,) = take_all(scheduler, "a")
    assert scheduler.end(only)
    assert (scheduler.n_open, scheduler.n_waiting) == (0, 0)
    scheduler.requeue(only.task.retry())
    assert shard_ids(take_all(scheduler, "b")) == ["00"]


def test_shard_that_a_node_failed_goes_to_another_node_if_there_is_one():
    scheduler = Scheduler(SHARDS[1:2])
    scheduler.requeue(ShardTask(SHARDS[0], failed_nodes=frozenset(["full"])))
    both, alone = (lambda: frozenset(["full", "good"])), (lambda: frozenset(["full"]))
    assert shard_ids([scheduler.take("a", 4, 1, 0.0, "full", both)]) == ["01"]
    assert scheduler.take("a", 4, 1, 0.0, "full", both) is None
    assert shard_ids([scheduler.take("b", 4, 1, 0.0, "good", both)]) == ["00"]
    scheduler.requeue(ShardTask(SHARDS[2], failed_nodes=frozenset(["full"])))
    assert shard_ids([scheduler.take("c", 4, 1, 0.0, "full", alone)]) == ["02"]
