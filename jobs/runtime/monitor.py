"""Progress of a run: a bar on a terminal, lines or JSON elsewhere, and a summary at the end."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from jobs.runtime.run_log import RunLog
from jobs.runtime.time_left import TimeLeft
from pipeline.clips import Container
from pipeline.printable import escape_control
from pipeline.progress import Counts as Counts
from pipeline.readers.intake import passed_over_text
from pipeline.shards import Shard
from pipeline.table.commit_record import CommitRecord
from pipeline.wording import about_text, count, duration_text, time_text

LINE_EVERY_S = 5.0
"""Time between progress lines or events, in seconds."""
REFRESH_S = 2.0
"""Time between updates of the bar, in seconds."""
NO_CLIPS_SHOWN = 5
"""Number of containers without clips that are logged by name."""


@dataclass
class Monitor:
    """Progress of a run, counted per shard and shown within a `with` block.

    Attributes:
        log: The run's log, which receives progress events or shows the bar.
        n_shards: Number of shards of this run.
        n_clips: Number of clips of these shards; None if it is known only after reading containers.
        on_commit: Callback that receives the record of each committed shard.
        committed: Counts over the shards committed in this run.
        shards_done: Number of shards committed in this run.
        failed: Shards given up, each with the reason.
        passed_over: Number of tar members that are not clips, by file ending, over the committed
            shards.
        without_clips: Number of committed containers that hold no clip.
    """

    log: RunLog
    n_shards: int
    n_clips: int | None
    on_commit: Callable[[CommitRecord], None] = lambda _: None
    committed: Counts = field(default_factory=Counts)
    shards_done: int = 0
    failed: list[tuple[Shard, str]] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    without_clips: int = 0
    _running: Counts = field(default_factory=Counts)
    _started: float = field(default_factory=time.monotonic)
    _time_left: TimeLeft = field(default_factory=TimeLeft)
    _phase: tuple[str, float] = ("", 0.0)

    def __enter__(self) -> "Monitor":
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._live = Live(console=self.log.console, auto_refresh=False, transient=True)
        if self.log.has_bar:
            self._live.start()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._live.stop()

    @property
    def wall_s(self) -> float:
        """Seconds since the run's shards were started."""
        return time.monotonic() - self._started

    def start_phase(self, name: str, text: str) -> None:
        """Log the phase that the run enters, and show it until the first windows are embedded.

        Args:
            name: Name of the phase in the JSON log.
            text: Description of the phase, such as `loading the model`.
        """
        self._phase = text, time.monotonic()
        self.log.report("phase", text, phase=name)

    def set_in_flight(self, counts: Iterable[Counts]) -> None:
        """Set the counts of the shards in flight."""
        running = Counts()
        for each in counts:
            running.add(each)
        self._running = running

    def shard_done(self, record: CommitRecord) -> None:
        """Count a committed shard, and log it."""
        self._running = Counts()
        self.committed.add(record.counts)
        self.shards_done += 1
        container = record.container
        self.log.detail(
            "shard_done",
            f"shard {record.shard}: {count(record.clips, 'clip')}, "
            f"{count(sum(record.errors.values()), 'error')}",
            shard=record.shard,
            container=container and container.uri,
            part=(container and container.part) or None,
            **_fields(record.counts),
            seconds=record.stage_s,
        )
        self.passed_over.update(record.passed_over)
        if container and not record.clips:
            self._report_no_clips(container, record.passed_over)
        self.on_commit(record)

    def _report_no_clips(self, container: Container, passed_over: Counter[str]) -> None:
        self.without_clips += 1
        if self.without_clips > NO_CLIPS_SHOWN:
            return
        found = f"; passed over {passed_over_text(passed_over)}" if passed_over else ""
        self.log.report(
            "no_clips",
            f"{container.uri}: holds no clip{found}",
            "warning",
            container=container.uri,
            passed_over=dict(passed_over),
        )

    def shard_retried(self, shard: Shard, attempt: int, reason: str) -> None:
        """Log that an attempt at a shard failed and another attempt follows."""
        self.log.report(
            "shard_retried",
            f"shard {shard.shard_id}: attempt {attempt} failed, retrying: {reason}",
            "warning",
            shard=shard.shard_id,
            attempt=attempt,
            reason=reason,
        )

    def shard_failed(self, shard: Shard, reason: str) -> None:
        """Record that a shard is given up, and log it."""
        self._running = Counts()
        self.failed.append((shard, reason))
        self.log.report(
            "shard_failed",
            f"shard {shard.shard_id}: given up: {reason}",
            "error",
            shard=shard.shard_id,
            reason=reason,
        )

    def progress_line(self) -> str:
        """Return the progress of the run as one line."""
        return self._line(*self._so_far())

    def _line(self, counts: Counts, left_s: float | None) -> str:
        phase, since_s = self._phase
        if phase and not (counts.clips or counts.windows or self.failed):
            return f"{phase}: {duration_text(time.monotonic() - since_s)} so far"
        done = (
            f"shards {self.shards_done:,}/{self.n_shards:,}, clips {counts.clips:,}"
            if self.n_clips is None
            else f"clips {counts.clips:,}/{self.n_clips:,}"
        )
        n_errors = counts.errors.total()
        parts = (
            done,
            f"audio {time_text(counts.audio_s)}",
            f"windows {counts.windows:,}",
            f"{self._speed(counts):.1f} x real time",
            f"errors {n_errors:,}" if n_errors else "",
            "" if left_s is None else f"about {about_text(left_s)} left",
        )
        return ", ".join(part for part in parts if part)

    def totals(self, counts: Counts | None = None) -> dict[str, Any]:
        """Return the progress of the run as fields of a log event.

        Args:
            counts: Counts to report; by default those of the committed shards.
        """
        counts = self.committed if counts is None else counts
        return {
            "shards": self.n_shards,
            "shards_done": self.shards_done,
            "shards_failed": len(self.failed),
            "clips_todo": self.n_clips,
            **_fields(counts),
            "wall_s": round(self.wall_s, 3),
            "x_real_time": round(self._speed(counts), 1),
        }

    def _so_far(self) -> tuple[Counts, float | None]:
        """Return the counts of committed and running shards, and the seconds left, if known."""
        counts = Counts()
        counts.add(self.committed)
        counts.add(self._running)
        left_s = self._time_left.estimate(self._share(counts), time.monotonic())
        # The windows of a long recording count as soon as they are embedded.
        counts.windows += counts.open_windows
        counts.audio_s += counts.open_audio_s
        return counts, left_s

    def _speed(self, counts: Counts) -> float:
        return counts.audio_s / max(self.wall_s, 1e-9)

    def _share(self, counts: Counts) -> float:
        """Return the share of the run that is done, by clips if their number is known."""
        done, total = (
            (self.shards_done, self.n_shards)
            if self.n_clips is None
            else (counts.clips + counts.open_clips, self.n_clips)
        )
        return min(1.0, done / total) if total else 1.0

    def _show(self) -> None:
        has_bar = self.log.has_bar
        while not self._ended.wait(REFRESH_S if has_bar else LINE_EVERY_S):
            counts, left_s = self._so_far()
            line = self._line(counts, left_s)
            if has_bar:
                rows = RichTable.grid()
                rows.add_row(ProgressBar(total=1, completed=self._share(counts)))
                rows.add_row(Text(line))
                self._live.update(rows, refresh=True)
            else:
                left_s = None if left_s is None else round(left_s)
                self.log.report("progress", line, **self.totals(counts), left_s=left_s)


def _fields(counts: Counts) -> dict[str, Any]:
    return {
        "clips": counts.clips,
        "windows": counts.windows,
        "audio_s": round(counts.audio_s, 3),
        "errors": dict(sorted(counts.errors.items())),
    }


def summary(title: str, counts: Counts, wall_s: float, location: str) -> RichTable:
    """Return the summary of a run, as a table for the terminal."""
    table = RichTable(title=title, show_header=False, title_justify="left")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    errors = ", ".join(f"{name} {n}" for name, n in sorted(counts.errors.items())) or "none"
    for name, value in (
        ("clips embedded", f"{counts.clips - counts.errors.total():,}"),
        ("audio", time_text(counts.audio_s)),
        ("windows", f"{counts.windows:,}"),
        ("errors", errors),
        ("wall time", duration_text(wall_s)),
        ("speed", f"{counts.audio_s / max(wall_s, 1e-9):.1f} x real time"),
        ("table", location),
    ):
        table.add_row(name, Text(escape_control(value)))
    return table


def fidelity_text(fidelity: Mapping[str, Any]) -> str:
    """Return how close a precision is to fp32, as one line."""
    return (
        f"fidelity to fp32: cosine min {fidelity['cosine_min']:.5f} "
        f"mean {fidelity['cosine_mean']:.5f} over {count(fidelity['windows'], 'window')} "
        f"({fidelity['precision']} on {fidelity['device']})"
    )
