"""The writer of a run's record in its table, which `passtream status` reads on any machine.

The start of the run is written with the usual retries, and the run fails if it cannot be written.
The end is written if possible, with a short timeout if the run was stopped or ended with an error.
The rows of the table do not depend on the record.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

from jobs.runtime.monitor import Monitor
from jobs.runtime.stop_signals import Stopped, StopRequest
from models.errors import ModelError
from pipeline.errors import PipelineError
from pipeline.io.storage import Storage, first_line
from pipeline.maintenance.run_record import (
    FAILED_SHOWN,
    RunOutcome,
    RunState,
    read_run,
    shortened,
    write_run,
)
from pipeline.planning.plan import Plan
from pipeline.table.store.base import TableStore
from pipeline.table.store.open_store import open_store

SHORT_TIMEOUT_S = 2.0
"""Timeout of store requests that a run must not wait for, in seconds."""


@contextlib.contextmanager
def record_run(
    store: TableStore, plan: Plan, monitor: Monitor, storage: Storage, stop: StopRequest
) -> Iterator[None]:
    """Write the start of a run to its record, and the end of the run at the end of the block.

    Args:
        store: Store of the table, whose lock is held.
        plan: Plan of the run.
        monitor: Monitor of the run, which has the failed shards at the end of the block.
        storage: Access to the store. Its secrets are redacted in the record.
        stop: Stop request of the run.

    Raises:
        StoreError: The start of the run could not be written.
    """
    started = RunState.begun(plan)
    write_run(store, started)
    try:
        yield
    except BaseException as error:
        _write_end(started, store, monitor, storage, stop, error)
        raise
    _write_end(started, store, monitor, storage, stop, None)


def _write_end(
    started: RunState,
    store: TableStore,
    monitor: Monitor,
    storage: Storage,
    stop: StopRequest,
    error: BaseException | None,
) -> None:
    """Write the end of a run to its record, if the record is still the one of this run.

    A failure to write the end is ignored.
    """
    outcome = _outcome(monitor, stop, error)
    failed = monitor.failed[:FAILED_SHOWN]
    ended = replace(
        started,
        ended_s=round(time.time(), 3),
        outcome=outcome,
        n_failed=len(monitor.failed),
        failed={s.shard_id: shortened(storage.redact(reason)) for s, reason in failed},
        error=shortened(storage.redact(_error_text(error))) if error and outcome == "error" else "",
    )
    with contextlib.suppress(Exception):
        if outcome in ("stopped", "error"):
            short_storage = replace(storage, timeout_s=min(storage.timeout_s, SHORT_TIMEOUT_S))
            store = open_store(store.location, short_storage)
        # A run that has lost its table must not overwrite the record of the other run.
        if read_run(store) == started:
            write_run(store, ended)


def _outcome(monitor: Monitor, stop: StopRequest, error: BaseException | None) -> RunOutcome:
    if stop.requested or isinstance(error, Stopped):
        return "stopped"
    if error:
        return "error"
    return "shards_failed" if monitor.failed else "finished"


def _error_text(error: BaseException) -> str:
    is_own = isinstance(error, PipelineError | ModelError)
    return str(error) if is_own else f"{type(error).__name__}: {first_line(error)}"
