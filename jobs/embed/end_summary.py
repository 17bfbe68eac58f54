"""The report at the end of a run, and the choice of its exit code."""

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
    """Log that a run was stopped, and return its exit code.

    Args:
        log: Log of the run.
        fields: Further fields of the `run_ended` event.
    """
    line = "stopped; what is committed stays. The same command continues from there"
    log.report("run_ended", line, "warning", outcome="stopped", exit_code=EXIT_STOPPED, **fields)
    return EXIT_STOPPED


def report_end(
    config: EmbedConfig,
    table: Table,
    monitor: Monitor,
    table_counts: Counts,
    failed_clips: FailedClipLog,
    out: Console,
    log: RunLog,
    stop: StopRequest,
) -> int:
    """Print and log the result of a run, and return its exit code.

    Args:
        config: Settings of the run.
        table: Table of the run.
        monitor: Monitor that has counted the clips and shards of the run.
        table_counts: Counts of the whole table, including earlier runs.
        failed_clips: Log of the failed clips, which has the first failures of each class.
        out: Console to which the result is printed.
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
    table_text = _table_text(table_counts)
    print_line(out, table_text)
    if table_counts.errors:
        print_line(out, f"  all errors: passtream errors {shlex.quote(location)}", 4)
    print_line(out, f"  check it:   passtream verify {shlex.quote(location)}", 4)
    fields = monitor.totals() | {
        "table": location,
        "table_clips": table_counts.clips,
        "table_audio_s": round(table_counts.audio_s, 3),
        "table_errors": dict(sorted(table_counts.errors.items())),
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
        them = "it" if n_failed == 1 else "them"
        line = f"{count(n_failed, 'shard')} failed; the same command tries {them} again"
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
    log.detail("run_ended", line or table_text, level, outcome=outcome, exit_code=code, **fields)
    return code


def _table_text(counts: Counts) -> str:
    """Return one line with the numbers of clips and errors of the whole table."""
    n_errors = counts.errors.total()
    share = f" ({n_errors / counts.clips:.1%} of its clips)" if n_errors else ""
    clips = count(counts.clips - n_errors, "clip")
    errors = count(n_errors, "error")
    return f"the table now: {clips} with {time_text(counts.audio_s)} of audio, {errors}{share}"
