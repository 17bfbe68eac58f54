"""Contract of all stores of tables: whole files, one winner of a put, one writer."""

import json
import os
import socket
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import UsageError
from pipeline.table.store.lease_file import LEASES_DIR
from pipeline.table.store.remote import RemoteStore
from pipeline.table_layout import META_DIR, TEMP_DIR
from tests.contracts.conftest import (
    FOLDERS,
    is_local,
    start_python,
    storage_options_json,
    write_file,
)

LEASE_S = 2.0


def test_a_new_table_is_empty_and_creating_it_twice_keeps_its_files(new_store):
    store = new_store()
    assert store.entries() == []
    store.create(FOLDERS)
    store.put_if_absent(f"{META_DIR}/commits/a.json", b"{}")
    new_store().create(FOLDERS)
    assert META_DIR in store.entries()
    assert store.names(f"{META_DIR}/commits") == {"a.json": 2}


def test_files_are_listed_with_their_sizes(store):
    write_file(store, "clips/a", b"12345")
    write_file(store, "clips/b", b"")
    write_file(store, "clips/below/c", b"1") if not is_local(store) else None
    assert store.names("clips") == {"a": 5, "b": 0}
    assert store.size("clips/a") == 5
    assert store.size("clips") is None or is_local(store)
    assert store.read("clips/a") == b"12345"
    assert store.read("clips/b") == b""


def test_missing_files_have_no_content_and_no_size(store):
    assert store.read("clips/none") is None
    assert store.size("clips/none") is None
    assert store.names("none") == {}
    store.delete("clips/none")
    with pytest.raises(FileNotFoundError):
        store.open("clips/none")


def test_a_deleted_file_is_gone(store):
    write_file(store, "clips/a", b"1")
    for _ in range(2):
        store.delete("clips/a")
        assert store.read("clips/a") is None
        assert store.names("clips") == {}


def test_a_replaced_file_appears_whole_at_the_end_of_the_block(store):
    write_file(store, "clips/a", b"old")
    with store.replacing("clips/a") as path:
        path.write_bytes(b"newer")
        assert store.read("clips/a") == b"old"
    assert store.read("clips/a") == b"newer"
    assert store.names("clips") == {"a": 5}
    assert store.names(TEMP_DIR) == {}


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_no_temporary_one(store, error, tmp_path, monkeypatch):
    write_file(store, "clips/a", b"old")
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))

    def fail_half_way(name):
        with store.replacing(name) as path:
            path.write_bytes(b"half")
            # The temporary file of a remote store has no name, so a killed run leaves none either.
            assert not list((tmp_path / "temp").iterdir())
            raise error

    for name in ("clips/a", "clips/b"):
        with pytest.raises(type(error)):
            fail_half_way(name)
    assert store.names("clips") == {"a": 3}
    assert store.read("clips/a") == b"old"
    assert store.names(TEMP_DIR) == {}
    assert not list((tmp_path / "temp").iterdir())


def test_a_replacement_can_be_read_back_within_the_block(store):
    with store.replacing("clips/a") as path:
        path.write_bytes(b"first")
        assert path.read_bytes() == b"first"
        path.write_bytes(b"second")
    assert store.read("clips/a") == b"second"


def test_any_part_of_a_file_can_be_read(store):
    content = bytes(range(256)) * 12_288  # 3 MiB, more than a single request reads
    write_file(store, "clips/a", content)
    with store.open("clips/a") as file:
        assert file.size() == len(content)
        file.seek(len(content) - 10)
        assert file.read(100) == content[-10:]
        file.seek(1_000_000)
        assert file.read(1_500_000) == content[1_000_000:2_500_000]
        file.seek(0)
        assert file.read() == content


def test_a_location_below_a_file_is_refused(new_store, store):
    store_class = type(store)
    write_file(store, "clips/a", b"1")
    location = store.locate("clips/a")
    inside = (
        store_class(location, store._client._storage)
        if store_class is RemoteStore
        else store_class(location)
    )
    with pytest.raises(UsageError, match="is a file"):
        inside.entries()


def test_a_second_put_if_absent_is_refused(store):
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert store.read("clips/a") == b"first"


def test_one_of_sixteen_threads_wins_a_put(new_store, store):
    if not store.has_conditional_put:
        pytest.skip("the store has no conditional put, or belongs to one process")
    barrier = threading.Barrier(16)
    stores = [new_store() for _ in range(16)]

    def put(n):
        barrier.wait()
        return stores[n].put_if_absent(f"clips/{round_}", b"%d" % n)

    with ThreadPoolExecutor(16) as threads:
        for round_ in range(5):
            won = list(threads.map(put, range(16)))
            assert won.count(True) == 1
            assert store.read(f"clips/{round_}") == b"%d" % won.index(True)


PUT = """
import json, sys
from pipeline.table.store.open_store import open_store
from pipeline.io.storage import Storage
location, options, n = sys.argv[1:]
store = open_store(location, Storage(tuple(json.loads(options).items())))
store.has_conditional_put
print("ready", flush=True)
sys.stdin.readline()
print([i for i in range(20) if store.put_if_absent(f"clips/{i}", n.encode())])
"""


def test_one_of_four_processes_wins_a_put(store):
    if not store.has_conditional_put or store.location.startswith("memory:"):
        pytest.skip("the store has no conditional put, or belongs to one process")
    processes = [
        start_python(PUT, store.location, storage_options_json(store), n) for n in range(4)
    ]
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
        write_file(holder, "clips/being written", b"1")
        with (
            pytest.raises(UsageError, match=r"another run is writing to it.*stop it"),
            other.lock(),
        ):
            pass
        assert store.names("clips") == {"being written": 1}
    with other.lock():
        pass
    assert len(store.names(LEASES_DIR)) == isinstance(store, RemoteStore)


def test_the_lock_is_free_again_after_an_error(new_store, store):
    with pytest.raises(ValueError, match="mine"), store.lock():
        raise ValueError("mine")
    with new_store().lock():
        pass


def test_writer_returns_the_holder_of_the_lock_and_changes_nothing(new_store, store):
    observer = new_store()
    assert observer.writer() is None
    with store.lock():
        before = store.names(META_DIR), store.names(LEASES_DIR)
        holder = observer.writer()
        assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
        assert (store.names(META_DIR), store.names(LEASES_DIR)) == before
    assert observer.writer() is None


def test_the_lock_deletes_temporary_files_of_killed_runs(store):
    write_file(store, f"{TEMP_DIR}/{uuid.uuid4().hex}", b"1")
    write_file(store, f"{TEMP_DIR}/clips_{uuid.uuid4().hex}.parquet.a1_b2c3d", b"1")
    write_file(store, f"{TEMP_DIR}/a person's file", b"1")
    with store.lock():
        assert store.names(TEMP_DIR) == {"a person's file": 1}


def test_a_store_without_conditional_put_has_a_note(store):
    expects = not store.location.startswith("file:")
    assert store.has_conditional_put is expects
    assert [("no conditional put" in note) for note in store.notes()] == [True] * (not expects)
