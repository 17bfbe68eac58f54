"""Tests of `PoolSizer`: the number of actors to start, and the nodes to exclude."""

import pytest

from jobs.cluster.pool_size import FIRST_BACKOFF_S, MAX_BACKOFF_S, PoolLimits, PoolSizer


@pytest.mark.parametrize(
    ("size", "n_starting", "n_ready", "n_waiting", "n_to_start"),
    [
        (PoolLimits(4), 0, 0, 100, 4),
        (PoolLimits(4), 1, 2, 100, 1),
        (PoolLimits(4), 0, 4, 100, 0),
        (PoolLimits(4), 0, 0, 3, 3),  # no more actors than waiting shards
        (PoolLimits(4), 0, 3, 0, 0),
        (PoolLimits(1, grows=True), 0, 0, 100, 1),
        (PoolLimits(1, grows=True), 0, 1, 100, 1),  # a pending actor makes the autoscaler add a GPU
        (PoolLimits(1, grows=True), 1, 1, 100, 0),
        (PoolLimits(2, grows=True), 1, 8, 100, 7),  # as many pending as ready
        (PoolLimits(2, grows=True), 0, 8, 3, 3),
        (PoolLimits(8, grows=True), 0, 7, 100, 7),
        (
            PoolLimits(8, grows=True),
            8,
            0,
            100,
            0,
        ),  # all nodes are lost: the pending actors are enough
    ],
)
def test_missing_actors_are_started(size, n_starting, n_ready, n_waiting, n_to_start):
    assert PoolSizer(size).n_to_start(n_starting, n_ready, n_waiting) == n_to_start


def test_node_with_repeated_deaths_is_excluded_with_exponential_backoff():
    sizer = PoolSizer(PoolLimits(1))
    sizer.record_death("bad", 0.0)
    assert not sizer.excluded_nodes(0.0)  # a single death is tolerated
    now_s, backoffs_s = 0.0, []
    for _ in range(9):
        sizer.record_death("bad", now_s)
        backoff_s = FIRST_BACKOFF_S
        while sizer.excluded_nodes(now_s + backoff_s - 0.1) and sizer.excluded_nodes(
            now_s + backoff_s
        ):
            backoff_s *= 2
        backoffs_s.append(backoff_s)
        now_s += backoff_s
    assert backoffs_s[:4] == [FIRST_BACKOFF_S * factor for factor in (1, 2, 4, 8)]
    assert sizer.excluded_nodes(now_s - backoffs_s[-1] + MAX_BACKOFF_S - 0.1) == {"bad"}
    assert not sizer.excluded_nodes(now_s - backoffs_s[-1] + MAX_BACKOFF_S)


def test_commit_resets_the_deaths_of_a_node():
    sizer = PoolSizer(PoolLimits(1))
    for _ in range(5):
        sizer.record_death("node", 0.0)
    sizer.record_commit("node")
    assert not sizer.excluded_nodes(0.0)
    sizer.record_death("node", 0.0)
    assert not sizer.excluded_nodes(0.0)


def test_death_on_an_unknown_node_excludes_no_node():
    sizer = PoolSizer(PoolLimits(1))
    for _ in range(5):
        sizer.record_death("", 0.0)
    assert not sizer.excluded_nodes(0.0)


def test_deaths_are_counted_per_node():
    sizer = PoolSizer(PoolLimits(1))
    for _ in range(2):
        sizer.record_death("one", 0.0)
    sizer.record_death("other", 0.0)
    assert sizer.excluded_nodes(0.0) == {"one"}


def test_faulty_node_is_excluded_at_once_with_exponential_backoff():
    sizer = PoolSizer(PoolLimits(1))
    now_s = 0.0
    for backoff_s in (FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S):
        for _ in range(3):  # the shards in flight on the node report the same fault
            sizer.record_fault("full", now_s)
        assert (
            sizer.faulty_nodes(now_s + backoff_s - 0.1) == sizer.excluded_nodes(now_s) == {"full"}
        )
        assert not sizer.faulty_nodes(now_s + backoff_s)
        now_s += backoff_s


def test_commit_does_not_end_the_exclusion_of_a_faulty_node():
    sizer = PoolSizer(PoolLimits(1))
    sizer.record_fault("full", 0.0)
    sizer.record_commit("full")
    assert sizer.faulty_nodes(1.0) == {"full"}


def test_run_is_hopeless_after_repeated_faults_of_all_nodes():
    sizer = PoolSizer(PoolLimits(1))
    for now_s in (0.0, 1e3, 2e3):
        assert not sizer.is_hopeless(["one", "other"])
        sizer.record_fault("one", now_s)
        sizer.record_fault("other", now_s)
    assert sizer.is_hopeless(["one", "other"])
    assert not sizer.is_hopeless(["one", "other", "third"])
    assert not sizer.is_hopeless([])
    sizer.record_commit("other")
    assert not sizer.is_hopeless(["one", "other"])
