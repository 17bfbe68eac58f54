"""Tests of `ShardTask`: the task that follows each kind of failure."""

from jobs.cluster.shard_task import MAX_ATTEMPTS, ShardTask
from pipeline.shards import Shard

SHARDS = [Shard("00", ())]


def test_shard_is_given_up_after_the_last_attempt():
    task = ShardTask(SHARDS[0])
    for attempt in range(2, MAX_ATTEMPTS + 1):
        task = task.retry()
        assert task.attempt == attempt
    assert task.retry() is None


def test_shards_run_alone_after_two_shared_deaths_without_losing_an_attempt():
    task = ShardTask(SHARDS[0])
    for _ in range(2):
        assert not task.runs_alone
        task = task.retry_after_shared_death()
    assert task.runs_alone
    assert task.attempt == 1


def test_clip_that_killed_two_decoders_is_poison():
    task = ShardTask(SHARDS[0]).retry_after_decoder_death(None)
    assert (task.attempt, task.one_by_one, task.poison) == (2, True, frozenset())
    task = task.retry_after_decoder_death(5)
    assert (task.attempt, task.died_at, task.poison) == (3, 5, frozenset())
    task = task.retry_after_decoder_death(5)
    assert (task.attempt, task.died_at, task.poison) == (2, None, {5})
    # A second such clip in the same shard.
    task = task.retry_after_decoder_death(7).retry_after_decoder_death(7)
    assert (task.attempt, task.one_by_one, task.poison) == (2, True, {5, 7})


def test_decoder_deaths_at_different_clips_count_as_failed_attempts():
    task = ShardTask(SHARDS[0]).retry_after_decoder_death(None).retry_after_decoder_death(5)
    assert task.retry_after_decoder_death(6) is None


def test_clip_0_can_be_poison():
    task = ShardTask(SHARDS[0]).retry_after_decoder_death(None)
    assert task.retry_after_decoder_death(0).retry_after_decoder_death(0).poison == {0}


def test_node_fault_costs_no_attempt_while_other_nodes_remain():
    nodes = {"one", "two", "three"}
    task = ShardTask(SHARDS[0]).retry_after_node_fault("one", nodes)
    task = task.retry_after_node_fault("two", nodes)
    assert (task.attempt, task.failed_nodes) == (1, {"one", "two"})
    task = task.retry_after_node_fault("three", nodes)
    assert (task.attempt, task.failed_nodes) == (2, frozenset())


def test_shard_is_given_up_after_all_nodes_failed_every_attempt():
    task = ShardTask(SHARDS[0])
    for _ in range(MAX_ATTEMPTS - 1):
        task = task.retry_after_node_fault("only", {"only"})
    assert task.retry_after_node_fault("only", {"only"}) is None


def test_repeated_faults_of_one_node_cost_no_attempt_while_other_nodes_remain():
    task = ShardTask(SHARDS[0])
    for _ in range(2 * MAX_ATTEMPTS):
        task = task.retry_after_node_fault("full", {"full", "other"})
    assert (task.attempt, task.failed_nodes) == (1, {"full"})
