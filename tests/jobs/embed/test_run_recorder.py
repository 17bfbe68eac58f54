"""Tests of the record that a run writes at its start and at its end."""

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
def record(store, monitor):
    """A function that opens `record_run` on the store, with a stop request or a new one."""
    return lambda stop=None: record_run(store, PLAN, monitor, STORAGE, stop or StopRequest())


def test_start_and_end_of_a_finished_run_are_recorded(store, record):
    with record():
        started = read_run(store)
        assert (started.shards, started.shards_done, started.ended_s) == (3, 2, None)
    ended = read_run(store)
    assert (ended.outcome, ended.n_failed, ended.failed, ended.error) == ("finished", 0, {}, "")
    assert started.started_s <= ended.ended_s <= time.time() + 0.001
    assert (ended.started_s, ended.process) == (started.started_s, started.process)


def test_first_failed_shards_are_recorded_without_secrets(store, record, monitor):
    with record():
        for n in range(FAILED_SHOWN + 2):
            monitor.shard_failed(Shard(f"s{n}", ()), f"disk {n} of {SECRET} is full")
    ended = read_run(store)
    assert (ended.outcome, ended.n_failed) == ("shards_failed", FAILED_SHOWN + 2)
    assert ended.failed == {f"s{n}": f"disk {n} of *** is full" for n in range(FAILED_SHOWN)}


def test_run_that_raises_stopped_is_recorded_as_stopped(store, record):
    with pytest.raises(Stopped), record():
        raise Stopped
    assert read_run(store).outcome == "stopped"


def test_run_with_a_stop_request_is_recorded_as_stopped(store, record):
    stop = StopRequest()
    with record(stop):
        stop.requested = True
    assert read_run(store).outcome == "stopped"


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (PipelineError(f"no GPU for {SECRET}"), "no GPU for ***"),
        (ZeroDivisionError("by zero\nmore"), "ZeroDivisionError: by zero"),
    ],
)
def test_error_is_recorded_and_raised(store, record, error, recorded):
    with pytest.raises(type(error)) as raised, record():
        raise error
    assert raised.value is error
    ended = read_run(store)
    assert (ended.outcome, ended.error) == ("error", recorded)


def test_record_of_a_run_that_took_the_table_is_not_overwritten(store, record):
    with record():
        other_run = RunState.begun(Plan((), ("x",)))
        write_run(store, other_run)
    assert read_run(store) == other_run


def test_failure_to_record_the_end_hides_no_error(store, record):
    def delete_store_and_fail():
        shutil.rmtree(store.root)
        raise PipelineError("error of the run")

    with pytest.raises(PipelineError, match="error of the run"), record():
        delete_store_and_fail()
    store.create((META_DIR,))
    with record():
        store.path(RUN_NAME).write_bytes(b"{")
    assert store.read(RUN_NAME) == b"{"


def test_failure_to_record_the_start_is_an_error(store, record):
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match=r"run\.json cannot be created"), record():
        pass
