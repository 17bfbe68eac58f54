"""`jobs.cluster.shard_task`: what a failure makes of a shard."""

from jobs.cluster.shard_task import MAX_ATTEMPTS, ShardTask
from pipeline.shards import Shard

SHARDS = [Shard("00", ())]


def test_a_shard_fails_when_its_tries_are_used_up():
    work = ShardTask(SHARDS[0])
    for attempt in range(2, MAX_ATTEMPTS + 1):
        work = work.failed()
        assert work.attempt == attempt
    assert work.failed() is None


def test_shards_that_died_together_twice_are_alone_and_have_not_failed():
    work = ShardTask(SHARDS[0])
    for _ in range(2):
        assert not work.runs_alone
        work = work.retry_after_shared_death()
    assert work.runs_alone
    assert work.attempt == 1


def test_a_clip_at_which_decoders_died_twice_is_passed_over():
    work = ShardTask(SHARDS[0]).retry_after_decoder_death(None)
    assert (work.attempt, work.one_by_one, work.poison) == (2, True, frozenset())
    work = work.retry_after_decoder_death(5)
    assert (work.attempt, work.died_at, work.poison) == (3, 5, frozenset())
    work = work.retry_after_decoder_death(5)
    assert (work.attempt, work.died_at, work.poison) == (2, None, {5})
    # Another one in the same shard.
    work = work.retry_after_decoder_death(7).retry_after_decoder_death(7)
    assert (work.attempt, work.one_by_one, work.poison) == (2, True, {5, 7})


def test_a_decoder_that_dies_at_another_clip_each_time_is_not_the_clips_fault():
    work = ShardTask(SHARDS[0]).retry_after_decoder_death(None).retry_after_decoder_death(5)
    assert work.retry_after_decoder_death(6) is None


def test_clip_0_can_be_poison():
    task = ShardTask(SHARDS[0]).retry_after_decoder_death(None)
    assert task.retry_after_decoder_death(0).retry_after_decoder_death(0).poison == {0}


def test_fault_of_a_node_is_no_failure_while_there_are_others():
    nodes = {"one", "two", "three"}
    work = ShardTask(SHARDS[0]).retry_after_node_fault("one", nodes)
    work = work.retry_after_node_fault("two", nodes)
    assert (work.attempt, work.failed_nodes) == (1, {"one", "two"})
    work = work.retry_after_node_fault("three", nodes)
    assert (work.attempt, work.failed_nodes) == (2, frozenset())


def test_shard_that_all_nodes_have_failed_in_all_attempts_is_given_up():
    work = ShardTask(SHARDS[0])
    for _ in range(MAX_ATTEMPTS - 1):
        work = work.retry_after_node_fault("only", {"only"})
    assert work.retry_after_node_fault("only", {"only"}) is None


def test_a_node_that_fails_a_shard_again_and_again_costs_no_attempt_while_there_are_others():
    work = ShardTask(SHARDS[0])
    for _ in range(2 * MAX_ATTEMPTS):
        work = work.retry_after_node_fault("full", {"full", "other"})
    assert (work.attempt, work.failed_nodes) == (1, {"full"})
