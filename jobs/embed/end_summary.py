"""What a run reports at its end, and its exit code."""

import shlex
from typing import Any

from rich.console import Console

from jobs.embed.failed_clip_log import FailedClipLog
from jobs.runtime.monitor import Monitor, fidelity_text, summary
from jobs.runtime.run_log import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_STOPPED,
    EXIT_TOO_MANY_ERRORS,
    Level,
    RunLog,
)
from jobs.runtime.stop_signals import StopRequest
from jobs.runtime.terminal import print_line
from jobs.settings.config import EmbedConfig
from pipeline.progress import Counts
from pipeline.readers.intake import passed_over_text
from pipeline.table.table import Table
from pipeline.wording import count, time_text


def report_stopped(log: RunLog, **fields: Any) -> int:
    """Log that a run was stopped, and return its exit code."""
    line = "stopped; what is committed stays. The same command goes on from there"
    log.report("run_ended", line, "warning", outcome="stopped", exit_code=EXIT_STOPPED, **fields)
    return EXIT_STOPPED


def report_end(
    config: EmbedConfig,
    table: Table,
    monitor: Monitor,
    in_all: Counts,
    failed_clips: FailedClipLog,
    out: Console,
    log: RunLog,
    stop: StopRequest,
) -> int:
    """Print and log the result of a run, and return its exit code.

    Args:
        config: Settings of the run.
        table: Table of the run.
        monitor: Monitor with the counts of the run.
        in_all: Counts of the whole table.
        failed_clips: Log of the failed clips.
        out: Console for the result.
        log: Log of the run.
        stop: Stop request of the run.
    """
    counts, location = monitor.committed, table.store.location
    if monitor.n_shards:
        out.print(summary("this run", counts, monitor.wall_s, location))
        if monitor.without_clips:
            n = count(monitor.without_clips, "container")
            print_line(out, f"no clip in {n} of this run")
        if monitor.passed_over:
            print_line(out, f"passed over {passed_over_text(monitor.passed_over)}")
        for text, indent in failed_clips.lines():
            print_line(out, log.storage.redact(text), indent)
    else:
        print_line(out, "nothing to do: all clips of the source are in the table")
    if table.fidelity:
        print_line(out, fidelity_text(table.fidelity))
    now = _table_text(in_all)
    print_line(out, now)
    if in_all.errors:
        print_line(out, f"  all errors: passtream errors {shlex.quote(location)}", 4)
    print_line(out, f"  check it:   passtream verify {shlex.quote(location)}", 4)
    fields = monitor.totals() | {
        "table": location,
        "table_clips": in_all.clips,
        "table_audio_s": round(in_all.audio_s, 3),
        "table_errors": dict(sorted(in_all.errors.items())),
        "fidelity": table.fidelity,
        "passed_over": dict(monitor.passed_over),
        "containers_without_clips": monitor.without_clips,
    }
    if stop.requested:
        return report_stopped(log, **fields)
    outcome, code, line = "finished", EXIT_OK, ""
    n_errors = counts.errors.total()
    if monitor.failed:
        outcome, code = "shards_failed", EXIT_FAILED
        n_failed = len(monitor.failed)
        again = "it" if n_failed == 1 else "them"
        line = f"{count(n_failed, 'shard')} failed; the same command tries {again} again"
    elif counts.clips and n_errors / counts.clips > config.max_error_ratio:
        outcome, code = "too_many_errors", EXIT_TOO_MANY_ERRORS
        line = (
            f"{n_errors:,} of the {count(counts.clips, 'clip')} of this run "
            f"{'is an error' if n_errors == 1 else 'are errors'}, more than "
            f"--max-error-ratio {config.max_error_ratio:g} allows: exit code {code}"
        )
    if line:
        print_line(out, line, 4)
    level: Level = "error" if code else "info"
    log.detail("run_ended", line or now, level, outcome=outcome, exit_code=code, **fields)
    return code


def _table_text(in_all: Counts) -> str:
    """Return what the whole table holds."""
    n_errors = in_all.errors.total()
    share = f" ({n_errors / in_all.clips:.1%} of its clips)" if n_errors else ""
    clips = count(in_all.clips - n_errors, "clip")
    errors = count(n_errors, "error")
    return f"the table now: {clips} with {time_text(in_all.audio_s)} of audio, {errors}{share}"
