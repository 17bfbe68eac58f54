"""Every store of a table keeps the same promises: whole files, one winner, one writer."""

import contextlib
import json
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import upload
from pipeline.errors import StoreError, UsageError
from pipeline.lease import LEASE_NAME, Holder, Lease
from pipeline.remote_store import PROBE_NAME, RemoteStore
from pipeline.storage import Storage
from pipeline.store import META_DIR, TEMP_DIR
from pipeline.stores import open_store
from tests.servers import KEY, SECRET, Fault, S3Server, fault_proxy

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("clips", f"{META_DIR}/commits")
SERVERS = ("moto", "gateway")
LEASE_S = 2.0


@pytest.fixture(params=["local", "memory", "moto", "gateway", "plain"])
def new_store(request, tmp_path):
    """Opens the test's table, each time anew, as another process would.

    `plain` stands for whatever fsspec reaches that cannot refuse to overwrite.
    """
    kind, name = request.param, uuid.uuid4().hex
    if kind in SERVERS:
        server: S3Server = request.getfixturevalue(kind)
        uri = f"{server.new_bucket()}/tables/one"
        return lambda **options: RemoteStore(uri, server.storage(), **options)
    if kind == "local":
        return lambda **_: open_store(str(tmp_path / "table"), Storage())
    uri = f"memory://{name}/table" if kind == "memory" else f"file://{tmp_path}/table"
    return lambda **options: RemoteStore(uri, Storage(), **options)


@pytest.fixture
def store(new_store):
    store = new_store()
    store.create(FOLDERS)
    return store


@pytest.fixture(params=SERVERS)
def server(request) -> S3Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxied():
    """Opens stores behind a proxy: how, and the proxy."""
    with contextlib.ExitStack() as stack:

        def before(server):
            bucket, proxy = server.new_bucket(), stack.enter_context(fault_proxy(server))
            behind = S3Server(proxy.url)
            return (
                lambda timeout_s=60.0: RemoteStore(f"{bucket}/t", behind.storage(timeout_s))
            ), proxy

        yield before


@pytest.fixture
def faulty(server, proxied):
    return proxied(server)


def fill(store, name, content):
    with store.replacing(name) as path:
        path.write_bytes(content)


def test_a_new_table_is_empty_and_can_be_made_twice(new_store):
    store = new_store()
    assert store.entries() == []
    store.create(FOLDERS)
    store.put_if_absent(f"{META_DIR}/commits/a.json", b"{}")
    new_store().create(FOLDERS)
    assert META_DIR in store.entries()
    assert store.names(f"{META_DIR}/commits") == {"a.json": 2}


def test_files_with_their_sizes(store):
    fill(store, "clips/a", b"12345")
    fill(store, "clips/b", b"")
    fill(store, "clips/below/c", b"1") if not is_local(store) else None
    assert store.names("clips") == {"a": 5, "b": 0}
    assert store.size("clips/a") == 5
    assert store.size("clips") is None or is_local(store)
    assert store.read("clips/a") == b"12345"
    assert store.read("clips/b") == b""


def is_local(store):
    return not isinstance(store, RemoteStore) or store.location.startswith("file:")


def test_what_is_not_there(store):
    assert store.read("clips/none") is None
    assert store.size("clips/none") is None
    assert store.names("none") == {}
    store.delete("clips/none")
    with pytest.raises(FileNotFoundError):
        store.open("clips/none")


def test_a_deleted_file_is_gone(store):
    fill(store, "clips/a", b"1")
    for _ in range(2):
        store.delete("clips/a")
        assert store.read("clips/a") is None
        assert store.names("clips") == {}


def test_the_new_file_appears_at_the_end_and_whole(store):
    fill(store, "clips/a", b"old")
    with store.replacing("clips/a") as path:
        path.write_bytes(b"newer")
        assert store.read("clips/a") == b"old"
    assert store.read("clips/a") == b"newer"
    assert store.names("clips") == {"a": 5}
    assert store.names(TEMP_DIR) == {}


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_no_temporary_one(store, error):
    fill(store, "clips/a", b"old")
    paths = []

    def fail_half_way(name):
        with store.replacing(name) as path:
            paths.append(path)
            path.write_bytes(b"half")
            raise error

    for name in ("clips/a", "clips/b"):
        with pytest.raises(type(error)):
            fail_half_way(name)
    assert store.names("clips") == {"a": 3}
    assert store.read("clips/a") == b"old"
    assert not any(path.exists() for path in paths)


def test_what_is_written_can_be_read_back_before_it_is_put_in_place(store):
    with store.replacing("clips/a") as path:
        path.write_bytes(b"first")
        assert path.read_bytes() == b"first"
        path.write_bytes(b"second")
    assert store.read("clips/a") == b"second"


def test_any_part_of_a_file_can_be_read(store):
    content = bytes(range(256)) * 12_288  # 3 MiB, more than is asked for at once
    fill(store, "clips/a", content)
    with store.open("clips/a") as file:
        assert file.size() == len(content)
        file.seek(len(content) - 10)
        assert file.read(100) == content[-10:]
        file.seek(1_000_000)
        assert file.read(1_500_000) == content[1_000_000:2_500_000]
        file.seek(0)
        assert file.read() == content


def test_a_file_is_no_place_for_a_table(new_store, store):
    above = type(store)
    fill(store, "clips/a", b"1")
    location = store.locate("clips/a")
    inside = above(location, store._client._storage) if above is RemoteStore else above(location)
    with pytest.raises(UsageError, match="is a file"):
        inside.entries()


def test_the_second_writer_is_refused(store):
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert store.read("clips/a") == b"first"


def test_one_of_sixteen_threads_wins(new_store, store):
    if not store.has_conditional_put:
        pytest.skip("promises nothing of the kind")
    barrier = threading.Barrier(16)
    stores = [new_store() for _ in range(16)]

    def put(n):
        barrier.wait()
        return stores[n].put_if_absent(f"clips/{turn}", b"%d" % n)

    with ThreadPoolExecutor(16) as threads:
        for turn in range(5):
            won = list(threads.map(put, range(16)))
            assert won.count(True) == 1
            assert store.read(f"clips/{turn}") == b"%d" % won.index(True)


PUT = """
import json, sys
from pipeline.stores import open_store
from pipeline.storage import Storage
location, options, n = sys.argv[1:]
store = open_store(location, Storage(tuple(json.loads(options).items())))
store.has_conditional_put
print("ready", flush=True)
sys.stdin.readline()
print([i for i in range(20) if store.put_if_absent(f"clips/{i}", n.encode())])
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def options_of(store):
    return json.dumps(
        dict(store._client._storage.options) if isinstance(store, RemoteStore) else {}
    )


def test_one_of_four_processes_wins(store):
    if not store.has_conditional_put or store.location.startswith("memory:"):
        pytest.skip("promises nothing of the kind")
    processes = [start(PUT, store.location, options_of(store), n) for n in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    won = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(i for each in won for i in each) == list(range(20))
    for n, each in enumerate(won):
        assert all(store.read(f"clips/{i}") == b"%d" % n for i in each)


def test_the_lock_refuses_a_second_writer_and_is_free_afterwards(new_store, store):
    holder, other = new_store(lease_s=LEASE_S), new_store(lease_s=LEASE_S)
    with holder.lock():
        fill(holder, "clips/being written", b"1")
        with (
            pytest.raises(UsageError, match=r"another run is writing to it.*stop it"),
            other.lock(),
        ):
            pass
        assert store.names("clips") == {"being written": 1}
    with other.lock():
        pass
    assert LEASE_NAME.removeprefix(f"{META_DIR}/") not in store.names(META_DIR)


def test_the_lock_is_free_again_after_an_error(new_store, store):
    with pytest.raises(ValueError, match="mine"), store.lock():
        raise ValueError("mine")
    with new_store().lock():
        pass


def test_the_lock_clears_what_a_killed_run_left(store):
    fill(store, f"{TEMP_DIR}/half", b"1")
    with store.lock():
        assert store.names(TEMP_DIR) == {}


def leased(store, **changes):
    """Leave a lease in the store as a run elsewhere would."""
    fields = {
        "host": "elsewhere",
        "pid": 7,
        "place": "another machine",
        "token": "theirs",
        "expires_s": time.time() + LEASE_S,
    }
    fill(store, LEASE_NAME, json.dumps(asdict(Holder(**(fields | changes)))).encode())


@pytest.fixture
def remote(new_store, store):
    if not isinstance(store, RemoteStore):
        pytest.skip("has a lock that dies with its process")
    return new_store(lease_s=LEASE_S)


def test_the_lease_of_a_dead_run_is_waited_for_and_taken_over(remote):
    leased(remote)
    said = []
    with remote.lock(said.append):
        assert json.loads(remote.read(LEASE_NAME))["token"] != "theirs"
    assert len(said) == 1
    assert "host elsewhere, process 7" in said[0]
    assert remote.read(LEASE_NAME) is None


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
    said = []
    with remote.lock(said.append):
        pass
    assert said == []


def test_a_lease_that_is_none_of_ours_is_waited_for(remote):
    fill(remote, LEASE_NAME, b"scribble")
    with remote.lock():
        assert Holder.from_bytes(remote.read(LEASE_NAME)).pid


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
            leased(remote)
            assert told.wait(60)

    with pytest.raises(StoreError, match=r"another \(host elsewhere, process 7\) writes"):
        lose()
    assert Holder.from_bytes(remote.read(LEASE_NAME)).token == "theirs"


def test_a_lease_that_somebody_deleted_is_taken_again(remote):
    with remote.lock():
        remote.delete(LEASE_NAME)
        deadline = time.monotonic() + 60
        while remote.read(LEASE_NAME) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_of_many_takes_over_an_ended_lease(new_store, remote):
    leased(remote, expires_s=time.time() - 1)
    barrier, holding = threading.Barrier(4), []

    def take(_):
        # Whose file stays shows after a thirtieth of this, which a busy machine may sleep through.
        lease = Lease(new_store(), 15.0)
        barrier.wait()
        with contextlib.suppress(UsageError), lease.held(lambda _: None, lambda: None):
            holding.append(lease)
            assert len(holding) == 1
            time.sleep(1.0)
            holding.remove(lease)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, range(4)))


def test_a_store_says_whether_it_refuses_to_overwrite(store):
    expects = not store.location.startswith("file:")
    assert store.has_conditional_put is expects
    assert [("no conditional put" in note) for note in store.notes()] == [True] * (not expects)


def test_large_files_go_in_parts(server, monkeypatch):
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)  # the least that S3 takes
    store = RemoteStore(f"{server.new_bucket()}/t", server.storage())
    content = bytes(range(251)) * 50_000  # 12 MB
    fill(store, "clips/a", b"old")
    fill(store, "clips/a", content)
    assert store.names("clips") == {"a": len(content)}
    with store.open("clips/a") as file:
        assert file.read() == content


def test_a_part_that_fails_leaves_the_old_file(faulty, monkeypatch):
    new, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store = new(timeout_s=1.0)
    fill(store, "clips/a", b"old")
    proxy.faults = [Fault("unavailable", "PUT", "partNumber=2", 1000)]
    with pytest.raises(StoreError, match="clips/a cannot be written"):
        fill(store, "clips/a", bytes(12 << 20))
    assert store.read("clips/a") == b"old"


def test_a_completion_whose_reply_was_lost_is_made_good(faulty, monkeypatch):
    new, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store, content = new(), bytes(range(256)) * 45_000
    proxy.faults = [Fault("lost", "POST", "uploadId=")]
    fill(store, "clips/a", content)
    assert proxy.faults[0].seen == 1
    assert store.names("clips") == {"a": len(content)}


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_creation_whose_reply_was_lost_is_ours(faulty, times):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [Fault("lost", "PUT", "clips/a", times)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == times
    assert not store.put_if_absent("clips/a", b"theirs")


def test_a_probe_whose_reply_was_lost_finds_out_all_the_same(faulty):
    new, proxy = faulty
    proxy.faults = [Fault("lost", "PUT", PROBE_NAME, 1)]
    assert new().has_conditional_put


def test_a_conflict_is_tried_again(faulty):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [Fault("conflict", "PUT", "clips/a", 3)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == 3


def test_a_server_that_ignores_the_condition_is_found_out(moto, proxied):
    """On the stand-in, which does not check that the header that is left out was signed."""
    new, proxy = proxied(moto)
    proxy.faults = [Fault("ignore_condition", "PUT", "", 1000)]
    store = new()
    assert not store.has_conditional_put
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert "no conditional put" in store.notes()[0]
    with store.lock():
        pass


def test_a_store_that_is_out_of_order_for_a_while_is_waited_for(faulty):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [
        Fault("unavailable", method, part, 4)
        for method, part in (("PUT", "clips/a"), ("GET", "clips/a"), ("GET", "list-type"))
    ]
    fill(store, "clips/a", b"12345")
    assert store.read("clips/a") == b"12345"
    assert store.names("clips") == {"a": 5}
    assert [fault.seen for fault in proxy.faults] == [4, 4, 4]


def test_a_store_that_stays_out_of_order_fails_within_the_budget_and_says_so(faulty):
    new, proxy = faulty
    store = new(timeout_s=1.0)
    store.create(())
    proxy.faults = [Fault("unavailable", method, "clips", 1000) for method in ("PUT", "GET")]
    for ask in (
        lambda: fill(store, "clips/a", b""),
        lambda: store.put_if_absent("clips/a", b""),
        lambda: store.read("clips/a"),
        lambda: store.names("clips"),
    ):
        with pytest.raises(StoreError) as raised:
            ask()
        assert f"{store.location}/clips" in str(raised.value)
        assert "tried for 1 s (--store-timeout-s)" in str(raised.value)
        assert SECRET not in str(raised.value)


def test_a_bucket_that_is_not_there_is_named(server):
    store = RemoteStore("s3://no-such-bucket-here/t", server.storage())
    for ask in (store.entries, lambda: store.create(()), lambda: store.read("a")):
        with pytest.raises(UsageError, match="s3://no-such-bucket-here/t: there is no such bucket"):
            ask()


def test_wrong_credentials_are_told_and_not_shown(gateway):
    bucket = gateway.new_bucket()
    options = gateway.options | {"secret": "wrong-and-still-secret"}
    store = RemoteStore(f"{bucket}/t", Storage(tuple(options.items())))
    with pytest.raises(StoreError, match=f"{bucket}/t.*no permission") as raised:
        store.entries()
    with pytest.raises(UsageError, match=f"{bucket}/t.*no permission"):
        store.create(())
    assert "wrong-and-still-secret" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_password_in_a_uri_is_refused():
    with pytest.raises(UsageError, match=r"has a password in it") as raised:
        open_store("ftp://me:hidden@host/table", Storage())
    assert "hidden" not in str(raised.value)


def test_file_uris_are_local(tmp_path):
    store = open_store(f"file://{tmp_path}/a%20table", Storage())
    assert store.location == str(tmp_path / "a table")
