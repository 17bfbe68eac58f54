"""What a run notes of itself at its end, however it ends, and whatever the store does."""

import io
import shutil
import time

import pytest
from rich.console import Console

from jobs.embed.run_recorder import record_run
from jobs.runtime.monitor import Monitor
from jobs.runtime.run_log import RunLog
from jobs.runtime.stop_signals import Stopped, StopRequest
from pipeline.errors import PipelineError, StoreError
from pipeline.io.storage import Storage
from pipeline.maintenance.run_record import FAILED_SHOWN, RUN_NAME, RunState, read_run, write_run
from pipeline.planning.plan import Plan
from pipeline.shards import Shard
from pipeline.table.store.local import LocalStore
from pipeline.table_layout import META_DIR

SECRET = "very-secret-of-the-tests"
STORAGE = Storage((("secret", SECRET),))
PLAN = Plan((Shard("a", ()),), ("b", "c"))


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "table")
    store.create((META_DIR,))
    return store


@pytest.fixture
def monitor():
    return Monitor(RunLog(Console(file=io.StringIO())), n_shards=1, n_clips=0)


@pytest.fixture
def note(store, monitor):
    return lambda stop=None: record_run(store, PLAN, monitor, STORAGE, stop or StopRequest())


def test_a_run_begins_and_finishes(store, note):
    with note():
        began = read_run(store)
        assert (began.shards, began.shards_done, began.ended_s) == (3, 2, None)
    ended = read_run(store)
    assert (ended.outcome, ended.n_failed, ended.failed, ended.error) == ("finished", 0, {}, "")
    assert began.started_s <= ended.ended_s <= time.time() + 0.001
    assert (ended.started_s, ended.process) == (began.started_s, began.process)


def test_failed_shards_are_named_the_first_ones_and_without_secrets(store, note, monitor):
    with note():
        for n in range(FAILED_SHOWN + 2):
            monitor.shard_failed(Shard(f"s{n}", ()), f"disk {n} of {SECRET} is full")
    ended = read_run(store)
    assert (ended.outcome, ended.n_failed) == ("shards_failed", FAILED_SHOWN + 2)
    assert ended.failed == {f"s{n}": f"disk {n} of *** is full" for n in range(FAILED_SHOWN)}


def test_stopped_where_it_stood(store, note):
    with pytest.raises(Stopped), note():
        raise Stopped
    assert read_run(store).outcome == "stopped"


def test_stopped_by_a_signal_that_was_noted(store, note):
    stop = StopRequest()
    with note(stop):
        stop.requested = True
    assert read_run(store).outcome == "stopped"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PipelineError(f"no GPU for {SECRET}"), "no GPU for ***"),
        (ZeroDivisionError("by zero\nmore"), "ZeroDivisionError: by zero"),
    ],
)
def test_an_error_is_noted_and_raised(store, note, error, told):
    with pytest.raises(type(error)) as raised, note():
        raise error
    assert raised.value is error
    ended = read_run(store)
    assert (ended.outcome, ended.error) == ("error", told)


def test_the_note_of_a_run_that_has_taken_the_table_stays(store, note):
    with note():
        theirs = RunState.begun(Plan((), ("x",)))
        write_run(store, theirs)
    assert read_run(store) == theirs


def test_an_end_that_cannot_be_written_hides_no_error(store, note):
    def fail():
        shutil.rmtree(store.root)
        raise PipelineError("the real one")

    with pytest.raises(PipelineError, match="the real one"), note():
        fail()
    store.create((META_DIR,))
    with note():
        store.path(RUN_NAME).write_bytes(b"{")
    assert store.read(RUN_NAME) == b"{"


def test_a_begin_that_cannot_be_written_is_an_error(store, note):
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match=r"run\.json cannot be created"), note():
        pass
