"""Leases: one writer a table on the stores that know no locks, however runs end or overlap."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from pipeline.errors import LostTableError, UsageError
from pipeline.table.store.hold import Hold
from pipeline.table.store.lease_file import (LEASES_DIR, SKEW_S, Holder, live_holder)
from pipeline.table.store.lease import Lease
from pipeline.table.store.remote import RemoteStore
from tests.contracts.conftest import fill, options_of, start

LEASE_S = 2.0
LEASE_NAME = f"{LEASES_DIR}/00000001.json"
SIGN_NAME = f"{LEASES_DIR}/00000001.sign"
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


@contextlib.contextmanager
def renewed(store, name, behind_s=0.0):
    """Have a run elsewhere renew its lease, whose clock is some seconds behind."""
    ended = threading.Event()

    def renew():
        while not ended.wait(LEASE_S / 8):
            leased(store, name, expires_s=time.time() + LEASE_S - behind_s)

    leased(store, name, expires_s=time.time() + LEASE_S - behind_s)
    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()


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


def test_a_lease_that_was_given_back_is_taken_over_without_waiting(remote):
    leased(remote, expires_s=0.0)
    said = []
    with remote.lock(said.append):
        pass
    assert said == []


def test_the_lease_of_a_process_that_died_here_is_taken_over_without_waiting(remote):
    script = (
        "import json, os, sys; from pipeline.table.store.open_store import open_store;"
        "from pipeline.io.storage import Storage;"
        "from pipeline.table.store.remote import RemoteStore;"
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
    # Its holder's clock may be late, or ahead.
    for skew_s in (-120, 120, 7200):
        leased(remote, NEXT_LEASE_NAME, expires_s=time.time() + skew_s, lease_s=LEASE_S)
        assert live_holder(remote).is_overdue(time.time())
    leased(remote, NEXT_LEASE_NAME, expires_s=time.time() + LEASE_S, lease_s=LEASE_S)
    assert not live_holder(remote).is_overdue(time.time())
    for over in ({"expires_s": time.time() - SKEW_S - 1}, {"expires_s": 0.0}):
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
        while not (sign := remote.read(SIGN_NAME)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert remote.read(LEASE_NAME) == first
        assert live_holder(remote).expires_s >= Holder.from_bytes(sign).expires_s
        earlier, later = (Holder.from_bytes(each) for each in (first, sign))
        assert earlier.token == later.token
        assert earlier.expires_s < later.expires_s


def test_a_run_that_lost_its_lease_is_told_and_leaves_the_new_one(remote):
    told = threading.Event()

    def lose():
        with remote.lock(on_lost=told.set):
            leased(remote, NEXT_LEASE_NAME)
            assert told.wait(60)

    with pytest.raises(LostTableError, match=r"another one \(host elsewhere, process 7\)"):
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
    leased(remote, expires_s=0.0)
    slow, store = new_store(lease_s=LEASE_S), new_store()
    put, is_late = slow.put_if_absent, threading.Event()

    def put_late(name, content):
        if not is_late.is_set():
            is_late.set()
            with remote.lock():
                pass
            lives.enter_context(renewed(store, f"{LEASES_DIR}/00000003.json"))
            store.delete(NEXT_LEASE_NAME)
        return put(name, content)

    slow.put_if_absent = put_late
    refused = pytest.raises(UsageError, match="host elsewhere, process 7")
    with contextlib.ExitStack() as lives, refused, slow.lock():
        pass
    assert list(store.names(LEASES_DIR)) == ["00000003.json"]


def test_one_of_many_takes_over_an_ended_lease(new_store, remote):
    leased(remote, expires_s=0.0)
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


@pytest.mark.parametrize("behind_s", [-7200.0, -120.0, 120.0, 7200.0])
def test_a_live_holder_is_recognised_by_its_renewals_however_the_clocks_differ(remote, behind_s):
    """Clock skew: only whether the lease changes within a lease's time decides."""
    refused = pytest.raises(UsageError, match=r"host elsewhere, process 7.*renewed")
    with renewed(remote, LEASE_NAME, behind_s), refused, remote.lock():
        pass


@pytest.mark.parametrize("behind_s", [-7200.0, 7200.0])
def test_a_dead_lease_is_watched_for_one_lease_however_the_clocks_differ(remote, behind_s):
    leased(remote, expires_s=time.time() - behind_s)
    began_s, said = time.monotonic(), []
    with remote.lock(said.append):
        assert time.monotonic() - began_s >= LEASE_S
    assert f"watching for up to {LEASE_S:.0f} s" in said[0]


def test_a_hold_counts_until_another_run_takes_the_table_or_it_is_given_back(new_store, remote):
    remote = new_store(lease_s=120.0)  # which is not renewed within the test
    with remote.lock() as hold:
        assert remote.taken_by(hold) is None
        remote.delete(LEASE_NAME)
        assert remote.taken_by(hold) is None  # by a person: nobody else has it
        remote.put_if_absent(LEASE_NAME, b"")
        for name in (LEASE_NAME, NEXT_LEASE_NAME, f"{LEASES_DIR}/00000009.json"):
            remote.delete(LEASE_NAME)
            leased(remote, name)
            assert remote.taken_by(hold) == "host elsewhere, process 7"
            remote.delete(name)
    assert "given it back" in remote.taken_by(hold)
    with remote.lock() as later:
        assert later.number > hold.number
        assert str(socket.gethostname()) in remote.taken_by(hold)
    assert remote.taken_by(Hold(later.number, "another token"))


def test_a_renewal_that_was_in_flight_does_not_bring_a_lost_lease_back(new_store, remote):
    """As of a run that was stopped within its renewal: what it writes late is no lease."""
    slow = new_store(lease_s=120.0)
    lost = pytest.raises(LostTableError)
    with lost, slow.lock() as hold:
        sign = slow.read(LEASE_NAME)
        leased(remote, NEXT_LEASE_NAME, expires_s=0.0)
        remote.delete(LEASE_NAME)
        fill(remote, SIGN_NAME, sign)
        assert remote.taken_by(hold) == "host elsewhere, process 7"
        with remote.lock() as later:
            assert later.number == 3
            assert remote.taken_by(hold)
            assert remote.read(SIGN_NAME) is None
