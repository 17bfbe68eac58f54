"""`jobs.cluster.pool_size`: how many actors are started, and which nodes are left alone."""

import pytest

from jobs.cluster.pool_size import FIRST_BACKOFF_S, MAX_BACKOFF_S, PoolLimits, PoolSizer


@pytest.mark.parametrize(
    ("size", "n_starting", "n_ready", "n_waiting", "n_to_start"),
    [
        (PoolLimits(4), 0, 0, 100, 4),
        (PoolLimits(4), 1, 2, 100, 1),
        (PoolLimits(4), 0, 4, 100, 0),
        (PoolLimits(4), 0, 0, 3, 3),  # no more than there are shards for
        (PoolLimits(4), 0, 3, 0, 0),
        (PoolLimits(1, grows=True), 0, 0, 100, 1),
        (PoolLimits(1, grows=True), 0, 1, 100, 1),  # one waits for a GPU that may come
        (PoolLimits(1, grows=True), 1, 1, 100, 0),
        (PoolLimits(2, grows=True), 1, 8, 100, 7),  # as many as are at work
        (PoolLimits(2, grows=True), 0, 8, 3, 3),
        (PoolLimits(8, grows=True), 0, 7, 100, 7),
        (PoolLimits(8, grows=True), 8, 0, 100, 0),  # all nodes gone: what waits is enough
    ],
)
def test_as_many_as_are_missing_are_started(size, n_starting, n_ready, n_waiting, n_to_start):
    assert PoolSizer(size).n_to_start(n_starting, n_ready, n_waiting) == n_to_start


def test_a_node_where_actors_die_in_a_row_rests_for_longer_and_longer():
    fleet = PoolSizer(PoolLimits(1))
    fleet.record_death("bad", 0.0)
    assert not fleet.excluded_nodes(0.0)  # once, that may happen
    now_s, rests_s = 0.0, []
    for _ in range(9):
        fleet.record_death("bad", now_s)
        rest_s = FIRST_BACKOFF_S
        while fleet.excluded_nodes(now_s + rest_s - 0.1) and fleet.excluded_nodes(now_s + rest_s):
            rest_s *= 2
        rests_s.append(rest_s)
        now_s += rest_s
    assert rests_s[:4] == [FIRST_BACKOFF_S * factor for factor in (1, 2, 4, 8)]
    assert fleet.excluded_nodes(now_s - rests_s[-1] + MAX_BACKOFF_S - 0.1) == {"bad"}
    assert not fleet.excluded_nodes(now_s - rests_s[-1] + MAX_BACKOFF_S)


def test_a_node_that_does_well_starts_anew():
    fleet = PoolSizer(PoolLimits(1))
    for _ in range(5):
        fleet.record_death("node", 0.0)
    fleet.record_commit("node")
    assert not fleet.excluded_nodes(0.0)
    fleet.record_death("node", 0.0)
    assert not fleet.excluded_nodes(0.0)


def test_a_death_that_no_node_is_known_of_lets_none_rest():
    fleet = PoolSizer(PoolLimits(1))
    for _ in range(5):
        fleet.record_death("", 0.0)
    assert not fleet.excluded_nodes(0.0)


def test_nodes_rest_each_for_itself():
    fleet = PoolSizer(PoolLimits(1))
    for _ in range(2):
        fleet.record_death("one", 0.0)
    fleet.record_death("other", 0.0)
    assert fleet.excluded_nodes(0.0) == {"one"}


def test_node_with_a_fault_of_its_own_rests_at_once_and_for_longer_each_time():
    fleet = PoolSizer(PoolLimits(1))
    now_s = 0.0
    for rest_s in (FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S):
        for _ in range(3):  # shards that it had begun report the same fault
            fleet.record_fault("full", now_s)
        assert fleet.faulty_nodes(now_s + rest_s - 0.1) == fleet.excluded_nodes(now_s) == {"full"}
        assert not fleet.faulty_nodes(now_s + rest_s)
        now_s += rest_s


def test_node_that_commits_what_it_had_begun_still_rests_after_a_fault():
    fleet = PoolSizer(PoolLimits(1))
    fleet.record_fault("full", 0.0)
    fleet.record_commit("full")
    assert fleet.faulty_nodes(1.0) == {"full"}


def test_run_is_hopeless_once_all_nodes_had_faults_again_and_again():
    fleet = PoolSizer(PoolLimits(1))
    for now_s in (0.0, 1e3, 2e3):
        assert not fleet.is_hopeless(["one", "other"])
        fleet.record_fault("one", now_s)
        fleet.record_fault("other", now_s)
    assert fleet.is_hopeless(["one", "other"])
    assert not fleet.is_hopeless(["one", "other", "third"])
    assert not fleet.is_hopeless([])
    fleet.record_commit("other")
    assert not fleet.is_hopeless(["one", "other"])
