"""Leases: one writer a table on the stores that know no locks, however runs end or overlap."""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.lease import LEASES_DIR, Holder, Lease, live_holder
from pipeline.remote_store import RemoteStore
from tests.contracts.conftest import fill, options_of, start

LEASE_S = 2.0
LEASE_NAME = f"{LEASES_DIR}/00000001.json"
NEXT_LEASE_NAME = f"{LEASES_DIR}/00000002.json"


def leased(store, name=LEASE_NAME, **changes):
    """Leave a lease in the store as a run elsewhere would."""
    fields = {
        "host": "elsewhere",
        "pid": 7,
        "place": "another machine",
        "token": "theirs",
        "expires_s": time.time() + LEASE_S,
    }
    fill(store, name, json.dumps(asdict(Holder(**(fields | changes)))).encode())


@pytest.fixture
def remote(new_store, store):
    if not isinstance(store, RemoteStore):
        pytest.skip("has a lock that dies with its process")
    return new_store(lease_s=LEASE_S)


def test_the_lease_of_a_dead_run_is_waited_for_and_taken_over(remote):
    leased(remote)
    said = []
    with remote.lock(said.append):
        assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).token != "theirs"
        assert remote.read(LEASE_NAME) is None
    assert len(said) == 1
    assert "host elsewhere, process 7" in said[0]


def test_a_lease_that_has_ended_is_taken_over_without_waiting(remote):
    leased(remote, expires_s=time.time() - 1)
    said = []
    with remote.lock(said.append):
        pass
    assert said == []


def test_the_lease_of_a_process_that_died_here_is_taken_over_without_waiting(remote):
    script = (
        "import json, os, sys; from pipeline.stores import open_store;"
        "from pipeline.storage import Storage; from pipeline.remote_store import RemoteStore;"
        "store = RemoteStore(sys.argv[1], Storage(tuple(json.loads(sys.argv[2]).items())));"
        "lock = store.lock(); lock.__enter__(); os._exit(9)"
    )
    if remote.location.startswith("memory:"):
        pytest.skip("is of one process")
    killed = start(script, remote.location, options_of(remote))
    killed.communicate()
    assert killed.returncode == 9
    assert Holder.from_bytes(remote.read(LEASE_NAME)).pid == killed.pid
    assert live_holder(remote) is None
    said = []
    with remote.lock(said.append):
        pass
    assert said == []


def test_whose_lease_counts_can_be_told(remote):
    assert live_holder(remote) is None
    leased(remote)
    assert live_holder(remote).pid == 7
    # The greatest number counts.
    leased(remote, NEXT_LEASE_NAME, host="another", pid=8)
    assert str(live_holder(remote)) == "host another, process 8"
    for over in ({"expires_s": time.time() - 1}, {"expires_s": 0.0}):
        leased(remote, NEXT_LEASE_NAME, **over)
        assert live_holder(remote) is None
    # It may belong to somebody, for as long as a lease lasts.
    fill(remote, NEXT_LEASE_NAME, b"scribble")
    assert live_holder(remote).host == "unknown"


def test_a_lease_that_is_none_of_ours_is_waited_for(remote):
    fill(remote, LEASE_NAME, b"scribble")
    with remote.lock():
        assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).pid


def test_a_lease_is_renewed_for_as_long_as_it_is_held(remote):
    with remote.lock():
        first = remote.read(LEASE_NAME)
        deadline = time.monotonic() + 60
        while remote.read(LEASE_NAME) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        earlier, later = (Holder.from_bytes(each) for each in (first, remote.read(LEASE_NAME)))
        assert earlier.token == later.token
        assert earlier.expires_s < later.expires_s


def test_a_run_that_lost_its_lease_is_told_and_leaves_the_new_one(remote):
    told = threading.Event()

    def lose():
        with remote.lock(on_lost=told.set):
            leased(remote, NEXT_LEASE_NAME)
            assert told.wait(60)

    with pytest.raises(StoreError, match=r"another \(host elsewhere, process 7\) writes"):
        lose()
    assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).token == "theirs"


def test_a_lease_that_somebody_deleted_is_taken_again(remote):
    with remote.lock():
        remote.delete(LEASE_NAME)
        deadline = time.monotonic() + 60
        while remote.read(LEASE_NAME) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_newcomer_that_slept_takes_nothing_from_those_who_came_meanwhile(new_store, remote):
    """It saw an ended lease, and creates the next when that one was given back and followed."""
    leased(remote, expires_s=time.time() - 1)
    slow, store = new_store(lease_s=LEASE_S), new_store()
    put, is_late = slow.put_if_absent, threading.Event()

    def put_late(name, content):
        if not is_late.is_set():
            is_late.set()
            with remote.lock():
                pass
            leased(store, f"{LEASES_DIR}/00000003.json", expires_s=time.time() + 3600)
            store.delete(NEXT_LEASE_NAME)
        return put(name, content)

    slow.put_if_absent = put_late
    with pytest.raises(UsageError, match="host elsewhere, process 7"), slow.lock():
        pass
    assert list(store.names(LEASES_DIR)) == ["00000003.json"]


def test_one_of_many_takes_over_an_ended_lease(new_store, remote):
    leased(remote, expires_s=time.time() - 1)
    barrier, holding = threading.Barrier(4), []

    def take(_):
        # Without conditional puts, whose file stays shows after a thirtieth of this, which a busy
        # machine may sleep through.
        lease = Lease(new_store(), 15.0)
        barrier.wait()
        with contextlib.suppress(UsageError), lease.held(lambda _: None, lambda: None):
            holding.append(lease)
            assert len(holding) == 1
            time.sleep(1.0)
            holding.remove(lease)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, range(4)))
