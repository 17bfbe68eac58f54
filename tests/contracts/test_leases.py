"""Leases permit one writer per table in stores without locks, however runs end or overlap."""

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
from pipeline.table.store.lease import Lease
from pipeline.table.store.lease_file import LEASES_DIR, SKEW_S, Holder, live_holder
from pipeline.table.store.remote import RemoteStore
from tests.contracts.conftest import start_python, storage_options_json, write_file

LEASE_S = 2.0
LEASE_NAME = f"{LEASES_DIR}/00000001.json"
SIGN_NAME = f"{LEASES_DIR}/00000001.sign"
NEXT_LEASE_NAME = f"{LEASES_DIR}/00000002.json"


def write_lease(store, name=LEASE_NAME, **changes):
    """Write a lease to the store as a run on another machine would."""
    fields = {
        "host": "elsewhere",
        "pid": 7,
        "place": "another machine",
        "token": "theirs",
        "expires_s": time.time() + LEASE_S,
    }
    write_file(store, name, json.dumps(asdict(Holder(**(fields | changes)))).encode())


@contextlib.contextmanager
def keep_renewing(store, name, behind_s=0.0):
    """Renew a lease until the block ends, as a run on a machine whose clock is `behind_s` late."""
    ended = threading.Event()

    def renew():
        while not ended.wait(LEASE_S / 8):
            write_lease(store, name, expires_s=time.time() + LEASE_S - behind_s)

    write_lease(store, name, expires_s=time.time() + LEASE_S - behind_s)
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
        pytest.skip("the store has a lock that ends with its process")
    return new_store(lease_s=LEASE_S)


def test_the_lease_of_a_dead_run_is_waited_for_and_taken_over(remote):
    write_lease(remote)
    messages = []
    with remote.lock(messages.append):
        assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).token != "theirs"
        assert remote.read(LEASE_NAME) is None
    assert len(messages) == 1
    assert "host elsewhere, process 7" in messages[0]


def test_a_released_lease_is_taken_over_without_waiting(remote):
    write_lease(remote, expires_s=0.0)
    messages = []
    with remote.lock(messages.append):
        pass
    assert messages == []


def test_the_lease_of_a_dead_process_on_this_machine_is_taken_over_without_waiting(remote):
    script = (
        "import json, os, sys; from pipeline.table.store.open_store import open_store;"
        "from pipeline.io.storage import Storage;"
        "from pipeline.table.store.remote import RemoteStore;"
        "store = RemoteStore(sys.argv[1], Storage(tuple(json.loads(sys.argv[2]).items())));"
        "lock = store.lock(); lock.__enter__(); os._exit(9)"
    )
    if remote.location.startswith("memory:"):
        pytest.skip("a memory store belongs to one process")
    killed = start_python(script, remote.location, storage_options_json(remote))
    killed.communicate()
    assert killed.returncode == 9
    assert Holder.from_bytes(remote.read(LEASE_NAME)).pid == killed.pid
    assert live_holder(remote) is None
    messages = []
    with remote.lock(messages.append):
        pass
    assert messages == []


def test_live_holder_is_the_holder_of_the_highest_lease_in_force(remote):
    assert live_holder(remote) is None
    write_lease(remote)
    assert live_holder(remote).pid == 7
    # The lease with the highest number is in force.
    write_lease(remote, NEXT_LEASE_NAME, host="another", pid=8)
    assert str(live_holder(remote)) == "host another, process 8"
    # The clock of the holder may be late or early.
    for skew_s in (-120, 120, 7200):
        write_lease(remote, NEXT_LEASE_NAME, expires_s=time.time() + skew_s, lease_s=LEASE_S)
        assert live_holder(remote).is_overdue(time.time())
    write_lease(remote, NEXT_LEASE_NAME, expires_s=time.time() + LEASE_S, lease_s=LEASE_S)
    assert not live_holder(remote).is_overdue(time.time())
    for change in ({"expires_s": time.time() - SKEW_S - 1}, {"expires_s": 0.0}):
        write_lease(remote, NEXT_LEASE_NAME, **change)
        assert live_holder(remote) is None
    # An unreadable lease may belong to a run, so it is in force for the duration of a lease.
    write_file(remote, NEXT_LEASE_NAME, b"scribble")
    assert live_holder(remote).host == "unknown"


def test_an_unreadable_lease_is_waited_for(remote):
    write_file(remote, LEASE_NAME, b"scribble")
    with remote.lock():
        assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).pid


def test_a_held_lease_is_renewed(remote):
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


def test_a_run_that_lost_its_lease_is_notified_and_leaves_the_new_lease(remote):
    notified = threading.Event()

    def lose():
        with remote.lock(on_lost=notified.set):
            write_lease(remote, NEXT_LEASE_NAME)
            assert notified.wait(60)

    with pytest.raises(LostTableError, match=r"another one \(host elsewhere, process 7\)"):
        lose()
    assert Holder.from_bytes(remote.read(NEXT_LEASE_NAME)).token == "theirs"


def test_a_deleted_lease_is_written_again(remote):
    with remote.lock():
        remote.delete(LEASE_NAME)
        deadline = time.monotonic() + 60
        while remote.read(LEASE_NAME) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_delayed_run_does_not_take_a_lease_that_it_has_not_seen(new_store, remote):
    """Before the run creates the next lease, one run has held it and another holds a later one."""
    write_lease(remote, expires_s=0.0)
    slow, store = new_store(lease_s=LEASE_S), new_store()
    put, was_called = slow.put_if_absent, threading.Event()

    def take_lease_then_put(name, content):
        if not was_called.is_set():
            was_called.set()
            with remote.lock():
                pass
            lives.enter_context(keep_renewing(store, f"{LEASES_DIR}/00000003.json"))
            store.delete(NEXT_LEASE_NAME)
        return put(name, content)

    slow.put_if_absent = take_lease_then_put
    refused = pytest.raises(UsageError, match="host elsewhere, process 7")
    with contextlib.ExitStack() as lives, refused, slow.lock():
        pass
    assert list(store.names(LEASES_DIR)) == ["00000003.json"]


def test_only_one_of_many_runs_takes_over_a_released_lease(new_store, remote):
    write_lease(remote, expires_s=0.0)
    barrier, holding = threading.Barrier(4), []

    def take(_):
        # Without conditional put, a run waits a thirtieth of the lease and checks that its file is
        # still there. With a short lease, a busy machine could miss that moment.
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
def test_a_live_holder_is_recognised_by_its_renewals_despite_clock_skew(remote, behind_s):
    """Only a change of the lease within its duration decides, and not its time of expiry."""
    refused = pytest.raises(UsageError, match=r"host elsewhere, process 7.*renewed")
    with keep_renewing(remote, LEASE_NAME, behind_s), refused, remote.lock():
        pass


@pytest.mark.parametrize("behind_s", [-7200.0, 7200.0])
def test_a_dead_lease_is_watched_for_the_duration_of_a_lease_despite_clock_skew(remote, behind_s):
    write_lease(remote, expires_s=time.time() - behind_s)
    began_s, messages = time.monotonic(), []
    with remote.lock(messages.append):
        assert time.monotonic() - began_s >= LEASE_S
    assert f"watching for up to {LEASE_S:.0f} s" in messages[0]


def test_a_hold_is_valid_until_another_run_takes_the_table_or_it_is_released(new_store, remote):
    remote = new_store(lease_s=120.0)  # not renewed within the test
    with remote.lock() as hold:
        assert remote.taken_by(hold) is None
        remote.delete(LEASE_NAME)
        assert remote.taken_by(hold) is None  # a person deleted it, so no other run has the table
        remote.put_if_absent(LEASE_NAME, b"")
        for name in (LEASE_NAME, NEXT_LEASE_NAME, f"{LEASES_DIR}/00000009.json"):
            remote.delete(LEASE_NAME)
            write_lease(remote, name)
            assert remote.taken_by(hold) == "host elsewhere, process 7"
            remote.delete(name)
    assert "released it" in remote.taken_by(hold)
    with remote.lock() as later:
        assert later.number > hold.number
        assert str(socket.gethostname()) in remote.taken_by(hold)
    assert remote.taken_by(Hold(later.number, "another token"))


def test_a_renewal_in_flight_does_not_restore_a_lost_lease(new_store, remote):
    """A run is suspended within its renewal; the file that it writes afterwards is no lease."""
    slow = new_store(lease_s=120.0)
    lost = pytest.raises(LostTableError)
    with lost, slow.lock() as hold:
        sign = slow.read(LEASE_NAME)
        write_lease(remote, NEXT_LEASE_NAME, expires_s=0.0)
        remote.delete(LEASE_NAME)
        write_file(remote, SIGN_NAME, sign)
        assert remote.taken_by(hold) == "host elsewhere, process 7"
        with remote.lock() as later:
            assert later.number == 3
            assert remote.taken_by(hold)
            assert remote.read(SIGN_NAME) is None
