"""Writing the record of a run to its table, for `passtream status` on other machines.

The start is written with the usual retries. The end is written if possible, within a few seconds if
the run was stopped or failed by its store. The table does not depend on it.
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

HURRIED_S = 2.0


@contextlib.contextmanager
def record_run(
    store: TableStore, plan: Plan, monitor: Monitor, storage: Storage, stop: StopRequest
) -> Iterator[None]:
    """Write the start of a run, and its end at the end of the block.

    Args:
        store: Store of the table, whose lock is held.
        plan: Plan of the run.
        monitor: Monitor that has counted the failed shards at the end of the block.
        storage: Access to the store.
        stop: Stop request of the run.

    Raises:
        StoreError: The start of the run could not be written.
    """
    began = RunState.begun(plan)
    write_run(store, began)
    try:
        yield
    except BaseException as error:
        _end(began, store, monitor, storage, stop, error)
        raise
    _end(began, store, monitor, storage, stop, None)


def _end(
    began: RunState,
    store: TableStore,
    monitor: Monitor,
    storage: Storage,
    stop: StopRequest,
    error: BaseException | None,
) -> None:
    outcome = _outcome(monitor, stop, error)
    failed = monitor.failed[:FAILED_SHOWN]
    ended = replace(
        began,
        ended_s=round(time.time(), 3),
        outcome=outcome,
        n_failed=len(monitor.failed),
        failed={s.shard_id: shortened(storage.redact(reason)) for s, reason in failed},
        error=shortened(storage.redact(_reason_of(error))) if error and outcome == "error" else "",
    )
    with contextlib.suppress(Exception):
        if outcome in ("stopped", "error"):
            hurried = replace(storage, timeout_s=min(storage.timeout_s, HURRIED_S))
            store = open_store(store.location, hurried)
        # A run that has lost its table must not overwrite the record of the other run.
        if read_run(store) == began:
            write_run(store, ended)


def _outcome(monitor: Monitor, stop: StopRequest, error: BaseException | None) -> RunOutcome:
    if stop.requested or isinstance(error, Stopped):
        return "stopped"
    if error:
        return "error"
    return "shards_failed" if monitor.failed else "finished"


def _reason_of(error: BaseException) -> str:
    is_ours = isinstance(error, PipelineError | ModelError)
    return str(error) if is_ours else f"{type(error).__name__}: {first_line(error)}"
