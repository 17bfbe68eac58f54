"""`jobs.cluster.scheduler`: who gets which shard, and who of two may write it."""

import pytest

from jobs.cluster.scheduler import MIN_STRAGGLER_S, Scheduler
from jobs.cluster.shard_task import ShardTask
from pipeline.clips import ClipRef, Container
from pipeline.shards import Shard

SHARDS = [Shard(f"{i:02}", ()) for i in range(8)]


def ids(tries):
    return [each.task.shard.shard_id for each in tries]


def take_all(schedule, actor, n_slots=4, n_actors=1, now_s=0.0):
    taken = []
    while found := schedule.take(actor, n_slots, n_actors, now_s):
        taken.append(found)
    return taken


def finish(schedule, taken, now_s):
    assert schedule.may_commit(taken)
    return schedule.committed(taken, now_s)


def test_an_actor_fills_its_slots_in_order():
    schedule = Scheduler(SHARDS)
    assert ids(take_all(schedule, "a", 3)) == ["00", "01", "02"]
    assert (schedule.n_open, schedule.n_waiting, schedule.busy) == (3, 5, {"a"})


def test_the_largest_come_first_and_those_of_unknown_size_last():
    clips = [ClipRef(name, "1", n_bytes=size) for name, size in (("a", 5), ("b", 6), ("c", None))]
    shards = [
        Shard("unknown", (clips[2],)),
        Shard("tar", (), Container("/a.tar", "1", n_bytes=9)),
        Shard("small", (clips[0], clips[2])),
        Shard("large", (clips[0], clips[1])),
    ]
    assert ids(take_all(Scheduler(shards), "a")) == ["large", "tar", "small", "unknown"]


@pytest.mark.parametrize("order", ["abc", "cab"])
def test_the_first_that_is_ready_leaves_their_share_to_the_others(order):
    schedule = Scheduler(SHARDS[:5])
    assert sorted(len(take_all(schedule, actor, 16, 3)) for actor in order) == [1, 2, 2]


def test_fewer_shards_than_actors_are_one_each():
    schedule = Scheduler(SHARDS[:2])
    assert [ids(take_all(schedule, actor, 4, 4)) for actor in "abcd"] == [["00"], ["01"], [], []]


def test_a_shard_that_is_to_be_alone_is():
    schedule = Scheduler([])
    alone = ShardTask(SHARDS[0], deaths=2)
    schedule.put(ShardTask(SHARDS[1]))
    schedule.put(alone)
    schedule.put(ShardTask(SHARDS[2]))
    assert ids(take_all(schedule, "a")) == ["01", "02"]  # it is passed over
    assert ids(take_all(schedule, "b")) == ["00"]
    schedule.put(ShardTask(SHARDS[3]))
    assert take_all(schedule, "b") == []


def straggling():
    """A shard that an actor has had for long, when the others are done, and an idle actor."""
    schedule = Scheduler(SHARDS[:3])
    (slow,) = take_all(schedule, "slow", 1)
    for started_s in (0.0, 5.0):
        (quick,) = take_all(schedule, "quick", 1, 3, started_s)
        finish(schedule, quick, started_s + 5.0)
    return schedule, slow


def test_a_straggler_is_given_to_an_idle_actor_once_it_is_slow():
    schedule, slow = straggling()
    assert schedule.n_without_backup == 1
    assert schedule.take("quick", 1, 3, MIN_STRAGGLER_S) is None  # not yet
    assert schedule.take("slow", 2, 3, 60.0) is None  # its own
    second = schedule.take("quick", 1, 3, 60.0)
    assert second.task == slow.task
    assert schedule.take("other", 1, 3, 90.0) is None  # there are two
    assert (schedule.n_without_backup, schedule.n_open) == (0, 1)


def test_nothing_is_a_straggler_before_a_pace_is_known():
    schedule = Scheduler(SHARDS[:1])
    take_all(schedule, "slow")
    assert schedule.take("idle", 1, 2, 1e6) is None


def test_a_large_shard_takes_its_time():
    sizes = [10_000, 10, 10]
    clips = [ClipRef(f"/{i}", "1", n_bytes=size) for i, size in enumerate(sizes)]
    schedule = Scheduler([Shard(str(i), (clip,)) for i, clip in enumerate(clips)])
    take_all(schedule, "slow", 1)
    for _ in range(2):
        (quick,) = take_all(schedule, "quick", 1, 3)
        finish(schedule, quick, 1.0)
    assert schedule.take("quick", 1, 3, 1000.0) is None
    assert ids([schedule.take("quick", 1, 3, 2001.0)]) == ["0"]


@pytest.mark.parametrize("first_is_slow", [True, False])
def test_of_two_tries_the_first_that_is_through_commits(first_is_slow):
    schedule, slow = straggling()
    second = schedule.take("quick", 1, 3, 60.0)
    winner, loser = (slow, second) if first_is_slow else (second, slow)
    assert schedule.may_commit(winner)
    assert not schedule.may_commit(loser)
    assert schedule.committed(winner, 70.0) == [loser]
    assert schedule.n_open == 0
    assert schedule.busy == {loser.actor}  # until it has noticed
    assert not schedule.may_commit(loser)
    assert not schedule.ended(loser)
    assert not schedule.busy


def test_a_try_that_fails_leaves_the_shard_to_the_other():
    schedule, slow = straggling()
    second = schedule.take("quick", 1, 3, 60.0)
    assert schedule.may_commit(slow)
    assert not schedule.ended(slow)  # while it committed
    assert schedule.may_commit(second)
    assert schedule.committed(second, 70.0) == []


def test_the_last_try_that_fails_leaves_it_undone():
    schedule = Scheduler(SHARDS[:1])
    (only,) = take_all(schedule, "a")
    assert schedule.ended(only)
    assert (schedule.n_open, schedule.n_waiting) == (0, 0)
    schedule.put(only.task.failed())
    assert ids(take_all(schedule, "b")) == ["00"]


def test_shard_that_a_node_has_failed_goes_to_another_node_where_there_is_one():
    schedule = Scheduler(SHARDS[1:2])
    schedule.put(ShardTask(SHARDS[0], failed_nodes=frozenset(["full"])))
    both, alone = (lambda: frozenset(["full", "good"])), (lambda: frozenset(["full"]))
    assert ids([schedule.take("a", 4, 1, 0.0, "full", both)]) == ["01"]
    assert schedule.take("a", 4, 1, 0.0, "full", both) is None
    assert ids([schedule.take("b", 4, 1, 0.0, "good", both)]) == ["00"]
    schedule.put(ShardTask(SHARDS[2], failed_nodes=frozenset(["full"])))
    assert ids([schedule.take("c", 4, 1, 0.0, "full", alone)]) == ["02"]
