"""`jobs.work`: who gets which shard, and what a failure makes of it."""

import pytest

from jobs.work import MAX_ATTEMPTS, Queue, Work
from pipeline.plan import Shard

SHARDS = [Shard(f"{i:02}", ()) for i in range(8)]


def ids(works):
    return [work.shard.shard_id for work in works]


def taken(queue, n_actors, slots, order):
    """What each actor has once those of `order` have asked until there is no more for them."""
    open_ = {actor: [] for actor in range(n_actors)}
    for actor in order:
        n_open = sum(map(len, open_.values()))
        while work := queue.take(open_[actor], slots, n_open, n_actors):
            open_[actor].append(work)
            n_open += 1
    return [ids(open_[actor]) for actor in range(n_actors)]


def test_an_actor_fills_its_slots_in_order():
    assert taken(Queue(SHARDS), 1, 3, [0]) == [["00", "01", "02"]]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_first_that_is_ready_leaves_their_share_to_the_others(order):
    found = taken(Queue(SHARDS[:5]), 3, 16, order)
    assert sorted(map(len, found)) == [1, 2, 2]


def test_fewer_shards_than_actors_are_one_each():
    assert sorted(taken(Queue(SHARDS[:2]), 4, 4, [0, 1, 2, 3])) == [[], [], ["00"], ["01"]]


def test_a_shard_fails_when_its_tries_are_used_up():
    work = Work(SHARDS[0])
    for attempt in range(2, MAX_ATTEMPTS + 1):
        work = work.failed()
        assert work.attempt == attempt
    assert work.failed() is None


def test_shards_that_died_together_twice_are_alone_and_have_not_failed():
    queue = Queue(SHARDS[:2])
    works = [queue.take([], 4, 0, 1), queue.take([Work(SHARDS[0])], 4, 1, 1)]
    for _ in range(2):
        assert not any(work.alone for work in works)
        works = [work.died_among_others() for work in works]
    assert all(work.alone and work.attempt == 1 for work in works)
    for work in works:
        queue.put(work)
    queue.put(Work(SHARDS[2]))
    other = [Work(SHARDS[7])]
    assert queue.take(other, 4, 1, 1) == Work(SHARDS[2])  # passes over those that want to be alone
    assert queue.take(other, 4, 1, 1) is None
    first = queue.take([], 4, 0, 1)
    assert first == works[0]
    assert queue.take([first], 4, 1, 1) is None


def test_a_clip_at_which_decoders_died_twice_is_passed_over():
    work = Work(SHARDS[0]).decoder_died(None)
    assert (work.attempt, work.one_by_one, work.poison) == (2, True, frozenset())
    work = work.decoder_died(5)
    assert (work.attempt, work.died_at, work.poison) == (3, 5, frozenset())
    work = work.decoder_died(5)
    assert (work.attempt, work.died_at, work.poison) == (2, None, {5})
    # Another one in the same shard.
    work = work.decoder_died(7).decoder_died(7)
    assert (work.attempt, work.one_by_one, work.poison) == (2, True, {5, 7})


def test_a_decoder_that_dies_at_another_clip_each_time_is_not_the_clips_fault():
    work = Work(SHARDS[0]).decoder_died(None).decoder_died(5)
    assert work.decoder_died(6) is None


def test_clip_0_can_be_poison():
    assert Work(SHARDS[0]).decoder_died(None).decoder_died(0).decoder_died(0).poison == {0}
