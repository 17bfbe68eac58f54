"""The output of `passtream status`, as text or JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console

from jobs.runtime.terminal import print_row
from pipeline.io.storage import Storage
from pipeline.maintenance.run_record import RunState
from pipeline.maintenance.run_status import RunStatus, Throughput, run_status
from pipeline.table.store.lease_file import Holder
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.wording import count, duration_text, time_text

_CONDITION_TEXTS = {
    "running": "running",
    "perhaps_running": "running, or ended a moment ago: the last sign of life is too old to tell",
    "not_running": "apparently not running any more; the same command continues it",
    "finished": "finished",
    "stopped": "stopped; the same command continues it",
    "shards_failed": "ended, but shards failed; the same command retries them",
    "error": "ended with an error",
    "unknown": "unknown: there is no record of a run",
}


def show_status(
    location: str, as_json: bool, out: Console, storage: Storage, now_s: float | None = None
) -> None:
    """Print the status of the last run into a table.

    Args:
        location: Folder or URI of the table.
        as_json: Print JSON instead of text.
        out: Console to print to.
        storage: Options and timeouts for remote locations.
        now_s: Present time in seconds since 1970; None for that of the clock.

    Raises:
        UsageError: There is no table at the location.
        StoreError: The table cannot be read.
    """
    table = Table.existing(open_store(location, storage))
    status = run_status(table, now_s)
    if as_json:
        routes = [asdict(route) for route in table.spec.routes]
        table_facts = {"table": table.store.location, "routes": routes}
        out.print(json.dumps(table_facts | status.to_json(), indent=1))
        return
    for name, text in _lines(table, status):
        print_row(out, name, text, 9)


def _lines(table: Table, status: RunStatus) -> Iterator[tuple[str, str]]:
    counts, run = status.counts, status.run
    yield "table", table.store.location
    for route in table.spec.routes:
        yield (
            "model",
            f"{route.arch} to {route.up_to_s:g} s, weights {route.weights_origin}, "
            f"{table.spec.precision}",
        )
    yield "run", _CONDITION_TEXTS[status.standing]
    if run:
        yield from _run_lines(run, status)
    if status.writer:
        is_new = status.standing not in ("running", "perhaps_running")
        remark = ", a run that has written no record yet" if is_new else ""
        yield "held by", f"{status.writer}{_renewal_text(status)}{remark}"
    of_total = f" of {run.shards:,}" if run else ""
    yield "shards", f"{status.shards:,}{of_total} committed"
    n_errors = counts.errors.total()
    yield "clips", f"{counts.clips - n_errors:,}, {time_text(counts.audio_s)}"
    yield "windows", f"{counts.windows:,}"
    classes = ", ".join(f"{name} {n}" for name, n in sorted(counts.errors.items()))
    yield "errors", f"{n_errors:,}{f' ({classes})' if classes else ''}"
    if total_s := sum(status.stage_s.values()):
        shares = (f"{stage} {100 * s / total_s:.0f} %" for stage, s in status.stage_s.items())
        yield "time", f"{', '.join(shares)} of {duration_text(total_s)}, summed over all shards"
    if status.last_commit_s is not None:
        yield "commit", f"the last one {_time_ago(status.last_commit_s, status.now_s)}"
    speeds = []
    if status.recent and status.recent != status.overall:
        speeds.append(f"{_speed_text(status.recent)} in the last {_period_text(status.recent)}")
    if status.overall:
        speeds.append(f"{_speed_text(status.overall)} in the run's {_period_text(status.overall)}")
    yield from zip(("speed", ""), speeds, strict=False)
    if status.left_s is not None:
        yield "left", f"about {duration_text(status.left_s)}"
    for note in status.notes:
        yield "note", note


def _run_lines(run: RunState, status: RunStatus) -> Iterator[tuple[str, str]]:
    yield "", f"{run.process}{f', passtream {run.version}' if run.version else ''}"
    n_clips = "" if run.clips_todo is None else f" ({count(run.clips_todo, 'clip')})"
    yield (
        "",
        f"began {_time_ago(run.started_s, status.now_s)}: {count(run.shards_done, 'shard')} found "
        f"done, {run.shards_todo:,} to do{n_clips}",
    )
    if run.ended_s is not None:
        yield "", f"ended {_time_ago(run.ended_s, status.now_s)}"
    if run.error:
        yield "error", run.error
    if run.n_failed:
        yield "failed", count(run.n_failed, "shard")
        for shard, reason in run.failed.items():
            yield "", f"{shard}: {reason}"
        if (n_more := run.n_failed - len(run.failed)) > 0:
            yield "", f"and {n_more:,} more"


def _time_ago(at_s: float, now_s: float) -> str:
    # The clock of the machine that wrote the time may be ahead of ours.
    ago = duration_text(max(0.0, now_s - at_s))
    return f"{ago} ago ({datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC)"


def _renewal_text(status: RunStatus) -> str:
    """Return when the writer renewed its lease, by its own clock; empty if it has no lease."""
    if not isinstance(status.writer, Holder):
        return ""
    ago_s = status.writer.renewed_ago_s(status.now_s)
    ago = f"{duration_text(ago_s)} ago" if ago_s >= 0 else f"{duration_text(-ago_s)} from now"
    return f", its lease renewed {ago} by its clock"


def _speed_text(speed: Throughput) -> str:
    return f"{speed.x_real_time:.1f} x real time, {speed.clips_per_s:.2f} clips/s"


def _period_text(speed: Throughput) -> str:
    return f"{duration_text(speed.wall_s)} to the last commit"
