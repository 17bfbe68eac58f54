"""`pipeline.table.store.base`: whole files or none, one winner, one run at a time."""

import fcntl
import os
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.maintenance.repair import apply_removals
from pipeline.maintenance.verify import verify_table
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.store import local_lock
from pipeline.table.store.local import LocalStore
from pipeline.table.store.local_lock import LOCK_NAME
from pipeline.table.store.process_id import Process
from pipeline.table.table import Table
from pipeline.table_layout import META_DIR, TEMP_DIR

HALF = f"clips_{'0' * 32}.parquet.a1_b2c3d"
"""Name of a file that a run was writing when it was killed."""


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "table")
    store.create(("clips", f"{META_DIR}/commits"))
    return store


@pytest.fixture
def umask():
    """Sets the process's umask for the test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def fill(store, name, content):
    with store.replacing(name) as path:
        path.write_bytes(content)


def test_the_new_file_appears_at_the_end_and_whole(store):
    fill(store, "clips/a", b"old")
    with store.replacing("clips/a") as path:
        path.write_bytes(b"new")
        assert store.read("clips/a") == b"old"
    assert store.read("clips/a") == b"new"
    assert store.names("clips") == {"a": 3}
    assert store.names(TEMP_DIR) == {}


def fail_half_way(store, name, error):
    with store.replacing(name) as path:
        path.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(store, error):
    fill(store, "clips/a", b"old")
    with pytest.raises(type(error)):
        fail_half_way(store, "clips/a", error)
    assert store.read("clips/a") == b"old"
    assert store.names(TEMP_DIR) == {}


def test_an_error_leaves_no_new_file(store):
    with pytest.raises(ValueError, match="mine"):
        fail_half_way(store, "clips/a", ValueError("mine"))
    assert store.names("clips") == {}


def test_what_the_disk_says_becomes_a_store_error(store):
    with pytest.raises(StoreError, match=r"clips/a cannot be written.*No space"):
        fail_half_way(store, "clips/a", OSError(28, "No space left on device"))
    assert store.names("clips") == store.names(TEMP_DIR) == {}


def test_a_full_disk_has_no_room_for_the_lock(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=r"lock cannot be written.*No space"), store.lock():
        pass
    monkeypatch.undo()
    with store.lock():
        assert store.writer() == Process(socket.gethostname(), os.getpid(), "")


def test_empty_folders_that_a_copy_lost_are_created(store):
    shutil.rmtree(store.path(TEMP_DIR))
    shutil.rmtree(store.path("clips"))
    fill(store, "clips/a", b"1")
    shutil.rmtree(store.path(TEMP_DIR))
    assert store.put_if_absent("clips/b", b"2")
    assert store.names("clips") == {"a": 1, "b": 1}


def test_write_to_a_deleted_table_is_a_store_error(store):
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="clips/a cannot be created"):
        fill(store, "clips/a", b"")
    with pytest.raises(StoreError, match="clips/a cannot be created"):
        store.put_if_absent("clips/a", b"")
    assert not store.root.exists()


def test_put_if_absent_keeps_the_first(store):
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert store.read("clips/a") == b"first"
    assert store.names(TEMP_DIR) == {}


def test_one_of_many_threads_wins(store):
    with ThreadPoolExecutor(8) as threads:
        for i in range(20):
            won = list(
                threads.map(lambda n, i=i: store.put_if_absent(f"clips/{i}", b"%d" % n), range(8))
            )
            assert won.count(True) == 1
            assert store.read(f"clips/{i}") == b"%d" % won.index(True)
    assert store.names(TEMP_DIR) == {}


PUT = """
import sys
from pipeline.table.store.local import LocalStore
print("ready", flush=True)
sys.stdin.readline()
store = LocalStore(sys.argv[1])
print([i for i in range(50) if store.put_if_absent(f"clips/{i}", sys.argv[2].encode())])
"""


def test_one_of_many_processes_wins(store, start_python):
    processes = [start_python(PUT, store.root, n) for n in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    won = [eval(process.communicate()[0]) for process in processes]
    assert sorted(i for each in won for i in each) == list(range(50))
    for n, each in enumerate(won):
        assert all(store.read(f"clips/{i}") == b"%d" % n for i in each)


HOLD = """
import sys
from pipeline.table.store.local import LocalStore
with LocalStore(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_lock_names_its_holder_and_is_free_when_that_is_killed(store, start_python):
    holder = start_python(HOLD, store.root)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError) as raised, store.lock():
        pass
    held_by = store.writer()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert held_by == Process(socket.gethostname(), holder.pid, "")
    assert store.writer() is None
    for part in (str(store.root), socket.gethostname(), str(holder.pid)):
        assert part in str(raised.value)
    with store.lock():
        pass


def test_a_refused_run_does_not_take_the_holders_name_or_files(store):
    with store.lock():
        leftover = store.path(TEMP_DIR) / HALF
        leftover.touch()
        for _ in range(2):
            with pytest.raises(UsageError, match=str(os.getpid())), store.lock():
                pass
        assert leftover.exists()


def test_the_lock_clears_what_a_killed_run_left(store):
    (store.path(TEMP_DIR) / HALF).touch()
    with store.lock():
        assert store.names(TEMP_DIR) == {}


def test_the_lock_is_free_again_after_an_error(store):
    with pytest.raises(ValueError, match="mine"), store.lock():
        raise ValueError("mine")
    with store.lock():
        pass


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_leaves(store, umask, mask, mode):
    umask(mask)
    fill(store, "clips/a", b"")
    store.put_if_absent("clips/b", b"")
    for name in ("clips/a", "clips/b"):
        assert store.path(name).stat().st_mode & 0o777 == mode


def test_what_is_not_there(store):
    assert store.read("clips/none") is None
    assert store.names("none") == {}
    store.delete("clips/none")


def test_folders_are_not_files(store):
    (store.path("clips") / "folder").mkdir()
    fill(store, "clips/a", b"12345")
    assert store.names("clips") == {"a": 5}


def test_creating_twice_changes_nothing(store):
    fill(store, "clips/a", b"old")
    store.create(("clips",))
    assert store.read("clips/a") == b"old"


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/table: cannot be made: Not a directory"):
        LocalStore(tmp_path / "file" / "table").create(("clips",))


def test_relative_roots_stay_where_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = LocalStore("table")
    monkeypatch.chdir("/")
    assert store.root == tmp_path / "table"


def test_who_only_looks_at_the_lock_keeps_no_run_away(store, monkeypatch):
    monkeypatch.setattr(local_lock, "LOOKING_S", 60.0)
    with store.lock():
        pass
    looking = store.path(LOCK_NAME).open()
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert store.writer() is None  # so does this one
    letting_go = threading.Timer(0.1, looking.close)
    letting_go.start()
    with store.lock():
        assert looking.closed
        assert store.writer() == Process(socket.gethostname(), os.getpid(), "")
    letting_go.join()


def test_a_lock_that_says_nothing_is_somebodys(store):
    with store.lock():
        store.path(LOCK_NAME).write_bytes(b"")
        assert store.writer() == Process("unknown", 0, "")
    assert LocalStore(store.root / "nowhere").writer() is None


VICTIM = "a victim's file, which no run may read, change or delete"


@pytest.fixture
def victim(tmp_path):
    """A folder of somebody's, with files whose names are a table's."""
    folder = tmp_path / "victim"
    (folder / "commits").mkdir(parents=True)
    for name in (f"{'0' * 32}.parquet", f"commits/{'0' * 32}.json", "mine.txt", HALF, "lock"):
        (folder / name).write_text(VICTIM)
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["clips", "windows", "timestamps", "errors", TEMP_DIR,
                                  f"{META_DIR}/commits", META_DIR])  # fmt: skip
def test_a_folder_of_a_table_that_is_a_link_is_refused_by_its_name(
    new_table, embed, write_clip, tmp_path, victim, name
):
    table = new_table(tables=("clips", "windows"))
    embed(table, [write_clip(tmp_path / "a.wav", 500)])
    folder = table.store.root / name
    if folder.exists():
        folder.rename(tmp_path / "moved")
        if name == META_DIR:  # the same files, but elsewhere
            shutil.copytree(tmp_path / "moved", victim, dirs_exist_ok=True)
    folder.symlink_to(victim)
    before = contents(victim)

    def run():
        again = Table.existing(LocalStore(table.store.root))
        with again.store.lock():
            plan = plan_run(Listing(), KnownShards(), PlanOptions(again.spec.digest, 1))
            apply_removals(again, plan)

    def verify():
        verify_table(Table.existing(LocalStore(table.store.root)))

    for use in (run, verify):
        with pytest.raises(UsageError, match=rf"{name} is a link \(to .*victim\)"):
            use()
    assert contents(victim) == before


@pytest.mark.parametrize("name", ["table.json", "run.json", "settings.json"])
def test_a_file_of_a_table_that_is_a_link_is_not_read(new_table, victim, name):
    store = new_table().store
    store.path(f"{META_DIR}/{name}").unlink(missing_ok=True)
    store.path(f"{META_DIR}/{name}").symlink_to(victim / "mine.txt")
    with pytest.raises(UsageError, match=rf"{META_DIR}/{name} is a link"):
        store.read(f"{META_DIR}/{name}")
    fill(store, f"{META_DIR}/{name}", b"{}")
    assert store.read(f"{META_DIR}/{name}") == b"{}"
    assert (victim / "mine.txt").read_text() == VICTIM


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_a_lock_that_is_none_is_not_written_through(store, victim, kind):
    path = store.path(LOCK_NAME)
    if kind == "link":
        path.symlink_to(victim / "mine.txt")
    elif kind == "hard link":
        path.hardlink_to(victim / "mine.txt")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UsageError, match="lock"), store.lock():
        pass
    assert store.writer() is None
    assert (victim / "mine.txt").read_text() == VICTIM


def test_a_data_file_that_is_a_link_is_no_data_file_and_is_replaced(store, victim):
    name = f"clips/{'0' * 32}.parquet"
    store.path(name).symlink_to(victim / "mine.txt")
    assert store.names("clips") == {}
    assert store.size(name) is None
    with pytest.raises(UsageError, match="is a link"):
        store.open(name)
    fill(store, name, b"rows")
    assert store.read(name) == b"rows"
    store.path(name).unlink()
    store.path(name).symlink_to(victim / "mine.txt")
    store.delete(name)
    assert not store.path(name).is_symlink()
    assert (victim / "mine.txt").read_text() == VICTIM


def test_the_clearing_of_half_written_files_takes_none_of_other_names(store, victim):
    linked = store.path(TEMP_DIR) / HALF
    linked.symlink_to(victim / "mine.txt")
    mine = store.path(TEMP_DIR) / "mine.parquet"
    mine.write_text(VICTIM)
    with store.lock():
        pass
    assert mine.read_text() == (victim / "mine.txt").read_text() == VICTIM


def test_a_named_pipe_in_place_of_a_file_is_named_and_not_waited_for(store):
    os.mkfifo(store.path(f"{META_DIR}/table.json"))
    with pytest.raises(UsageError, match=r"table\.json: is not a file"):
        store.read(f"{META_DIR}/table.json")


def test_a_table_whose_own_path_is_a_link_is_taken(new_table, tmp_path):
    table = new_table()
    (tmp_path / "link").symlink_to(table.store.root)
    again = Table.existing(LocalStore(tmp_path / "link"))
    with again.store.lock() as hold:
        assert again.store.taken_by(hold) is None


def test_folders_are_made_of_the_tables_that_were_asked_for(new_table, make_spec, tmp_path):
    assert sorted(path.name for path in new_table().store.root.iterdir()) == [
        META_DIR, "clips", "errors",
    ]  # fmt: skip
    spec = make_spec(tables=("clips", "windows"))
    store = Table.open_or_create(LocalStore(tmp_path / "more"), spec).store
    assert (store.root / "windows").is_dir()
    assert not (store.root / "timestamps").exists()
