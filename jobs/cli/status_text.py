"""The answer of `passtream status`, as text or JSON."""

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

_STANDINGS = {
    "running": "running",
    "perhaps_running": "running, or ended a moment ago: no sign of life is recent enough to tell",
    "not_running": "not running any more as far as can be told; the same command goes on",
    "finished": "finished",
    "stopped": "stopped; the same command goes on",
    "shards_failed": "ended, but shards failed; the same command tries them again",
    "error": "ended with an error",
    "unknown": "unknown: no run has left a note here",
}


def show_status(
    location: str, as_json: bool, out: Console, storage: Storage, now_s: float | None = None
) -> None:
    """Tell how a table's last run is doing.

    Args:
        location: folder or URI of the table.
        as_json: print it for programs.
        out: takes it.
        storage: how remote locations are reached.
        now_s: what time it is, in seconds since 1970; None asks the clock.

    Raises:
        UsageError: there is no table.
        StoreError: it cannot be read.
    """
    table = Table.existing(open_store(location, storage))
    status = run_status(table, now_s)
    if as_json:
        routes = [asdict(route) for route in table.spec.routes]
        made_with = {"table": table.store.location, "routes": routes}
        out.print(json.dumps(made_with | status.to_json(), indent=1))
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
    yield "run", _STANDINGS[status.standing]
    if run:
        yield from _run_lines(run, status)
    if status.writer:
        is_new = status.standing not in ("running", "perhaps_running")
        note = ", a run that has left no note yet" if is_new else ""
        yield "held by", f"{status.writer}{_renewal(status)}{note}"
    of_all = f" of {run.shards:,}" if run else ""
    yield "shards", f"{status.shards:,}{of_all} committed"
    n_errors = counts.errors.total()
    yield "clips", f"{counts.clips - n_errors:,}, {time_text(counts.audio_s)}"
    yield "windows", f"{counts.windows:,}"
    classes = ", ".join(f"{name} {n}" for name, n in sorted(counts.errors.items()))
    yield "errors", f"{n_errors:,}{f' ({classes})' if classes else ''}"
    if total_s := sum(status.stage_s.values()):
        shares = (f"{stage} {100 * s / total_s:.0f} %" for stage, s in status.stage_s.items())
        yield "time", f"{', '.join(shares)} of {duration_text(total_s)}, all shards added up"
    if status.last_commit_s is not None:
        yield "commit", f"the last one {_moment(status.last_commit_s, status.now_s)}"
    rates = []
    if status.recent and status.recent != status.overall:
        rates.append(f"{_rates(status.recent)} in the last {_length(status.recent)}")
    if status.overall:
        rates.append(f"{_rates(status.overall)} in the run's {_length(status.overall)}")
    yield from zip(("speed", ""), rates, strict=False)
    if status.left_s is not None:
        yield "left", f"about {duration_text(status.left_s)}"
    for note in status.notes:
        yield "note", note


def _run_lines(run: RunState, status: RunStatus) -> Iterator[tuple[str, str]]:
    yield "", f"{run.process}{f', passtream {run.version}' if run.version else ''}"
    n_clips = "" if run.clips_todo is None else f" ({count(run.clips_todo, 'clip')})"
    yield (
        "",
        f"began {_moment(run.started_s, status.now_s)}: {count(run.shards_done, 'shard')} found "
        f"done, {run.shards_todo:,} to do{n_clips}",
    )
    if run.ended_s is not None:
        yield "", f"ended {_moment(run.ended_s, status.now_s)}"
    if run.error:
        yield "error", run.error
    if run.n_failed:
        yield "failed", count(run.n_failed, "shard")
        for shard, reason in run.failed.items():
            yield "", f"{shard}: {reason}"
        if (n_more := run.n_failed - len(run.failed)) > 0:
            yield "", f"and {n_more:,} more"


def _moment(at_s: float, now_s: float) -> str:
    # The clock of the machine that wrote it may be ahead.
    ago = duration_text(max(0.0, now_s - at_s))
    return f"{ago} ago ({datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC)"


def _renewal(status: RunStatus) -> str:
    """When the holder renewed its lease, where it has one; by its clock, which may differ."""
    if not isinstance(status.writer, Holder):
        return ""
    ago_s = status.writer.renewed_ago_s(status.now_s)
    ago = f"{duration_text(ago_s)} ago" if ago_s >= 0 else f"{duration_text(-ago_s)} from now"
    return f", its lease renewed {ago} by its clock"


def _rates(speed: Throughput) -> str:
    return f"{speed.x_real_time:.1f} x real time, {speed.clips_per_s:.2f} clips/s"


def _length(speed: Throughput) -> str:
    return f"{duration_text(speed.wall_s)} to the last commit"
