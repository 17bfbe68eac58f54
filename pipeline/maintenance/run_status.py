"""The status of a run from its table alone: its commits, their times, and `run.json`.

The run itself is not contacted, so it may be on another machine, or dead. A speed is the work
committed between two commits, divided by the time between them. Work in flight counts in neither.
Times are those of the machines that wrote them.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.errors import StoreError
from pipeline.maintenance.run_record import RunOutcome, RunState, read_run
from pipeline.progress import Counts
from pipeline.table.store.lease_file import Holder
from pipeline.table.store.process_id import Process
from pipeline.table.table import Table

RECENT_S = 300.0
"""Smallest length in seconds of the recent part of a run, for its recent speed."""
SILENT_S = 300.0
"""Seconds without a sign after which a run that holds no table is taken for dead."""

RunCondition = RunOutcome | Literal["running", "perhaps_running", "not_running", "unknown"]


@dataclass(frozen=True)
class Throughput:
    """The work committed in a period.

    Attributes:
        wall_s: Length of the period in seconds; more than 0.
        shards: Number of shards committed.
        clips: Number of clips of these shards, including errors.
        audio_s: Seconds of audio embedded.
    """

    wall_s: float
    shards: int
    clips: int
    audio_s: float

    @property
    def x_real_time(self) -> float:
        """Seconds of audio per second."""
        return self.audio_s / self.wall_s

    @property
    def clips_per_s(self) -> float:
        """Clips per second, including errors."""
        return self.clips / self.wall_s


@dataclass
class RunStatus:
    """The result of `status`.

    Attributes:
        now_s: Time of the status, in seconds since 1970.
        standing: Condition or outcome of the last run. `not_running` is as far as the table shows;
            `unknown` means that there is no record of a run.
        run: Record of the last run; None without one.
        writer: Process that holds the table; None without one.
        shards: Number of committed shards.
        counts: Counts of the committed shards; `clips` includes errors.
        stage_s: Seconds that the committed shards took, by stage.
        last_commit_s: Time of the last commit, in seconds since 1970; None without a commit.
        recent: Throughput of the last `RECENT_S` before the last commit; None where that is too
            little.
        overall: Throughput of the run up to its last commit; None without a commit.
        left_s: Seconds that the run still needs at its recent speed; None if that is unknown.
        notes: Notes for the reader, one line each.
    """

    now_s: float
    standing: RunCondition = "unknown"
    run: RunState | None = None
    writer: Process | None = None
    shards: int = 0
    counts: Counts = field(default_factory=Counts)
    stage_s: dict[str, float] = field(default_factory=dict)
    last_commit_s: float | None = None
    recent: Throughput | None = None
    overall: Throughput | None = None
    left_s: float | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the status for `--json`."""
        counts = {
            "clips": self.counts.clips - self.counts.errors.total(),
            "windows": self.counts.windows,
            "audio_s": self.counts.audio_s,
            "errors": self.counts.errors,
        }
        found = {"standing": self.standing, "shards": self.shards} | counts
        found["stage_s"] = {stage: round(s, 3) for stage, s in self.stage_s.items()}
        found |= {"last_commit_s": self.last_commit_s, "left_s": self.left_s, "now_s": self.now_s}
        for name, speed in (("recent", self.recent), ("overall", self.overall)):
            rates = speed and {"x_real_time": speed.x_real_time, "clips_per_s": speed.clips_per_s}
            found[name] = speed and asdict(speed) | (rates or {})
        writer = self.writer and {"host": self.writer.host, "pid": self.writer.pid}
        run = self.run and asdict(self.run) | {"shards_todo": self.run.shards_todo}
        return found | {"writer": writer, "run": run, "notes": self.notes}


@dataclass(frozen=True, slots=True)
class _Commit:
    at_s: float
    clips: int
    audio_s: float


def run_status(table: Table, now_s: float | None = None) -> RunStatus:
    """Return the status of a table's last run; nothing is written.

    Args:
        table: The table.
        now_s: Present time in seconds since 1970; None to read the clock.

    Raises:
        StoreError: The table cannot be read.
    """
    status = RunStatus(time.time() if now_s is None else now_s)
    # Read before the commits, so that no commit of a run that has ended is missed.
    status.writer = table.store.writer()
    try:
        status.run = read_run(table.store)
    except StoreError as error:
        status.notes.append(str(error))
    commits = _count(table, status)
    if commits:
        status.last_commit_s = commits[-1].at_s
    run = status.run
    if run:
        status.standing = _standing(run, status)
        commits = [commit for commit in commits if commit.at_s >= run.started_s]
        status.overall = _speed(commits, run.started_s)
    if commits:
        status.recent = _speed(commits, _recent_since(commits, run))
    if run and status.standing in ("running", "perhaps_running"):
        status.left_s = _left(run, status, commits)
    return status


def _count(table: Table, status: RunStatus) -> list[_Commit]:
    """Add all commit records to a status; return those with a time, in its order."""
    commits = []
    replaced = set[str]()
    committed = table.commits.ids()
    for record in table.commits.records(sorted(committed), or_gone=True):
        status.shards += 1
        status.counts.add(record.counts)
        for stage, seconds in record.stage_s.items():
            status.stage_s[stage] = status.stage_s.get(stage, 0.0) + seconds
        if (at_s := record.finished_s) is not None:
            commits.append(_Commit(at_s, record.clips, record.audio_s))
        replaced.update(record.replaces)
    # A run was killed before it removed these; their clips are in other records as well.
    for record in table.commits.records(sorted(replaced & committed), or_gone=True):
        status.shards -= 1
        status.counts.subtract(record.counts)
    return sorted(commits, key=lambda commit: commit.at_s)


def _standing(run: RunState, status: RunStatus) -> RunCondition:
    if run.outcome is not None:
        return run.outcome
    writer = status.writer
    if writer:
        if (writer.host, writer.pid) != (run.process.host, run.process.pid):
            return "not_running"
        is_late = isinstance(writer, Holder) and writer.is_overdue(status.now_s)
        return "perhaps_running" if is_late else "running"
    last_sign_s = max(run.started_s, status.last_commit_s or 0.0)
    is_silent = status.now_s - last_sign_s > SILENT_S
    return "not_running" if is_silent or run.process.is_dead else "perhaps_running"


def _recent_since(commits: Sequence[_Commit], run: RunState | None) -> float:
    """Return the last time, of the start and the commits, at least `RECENT_S` before the end."""
    moments = [commit.at_s for commit in commits]
    if run:
        moments.insert(0, run.started_s)
    until_s = moments[-1] - RECENT_S
    return max((each for each in moments if each <= until_s), default=moments[0])


def _speed(commits: Sequence[_Commit], since_s: float) -> Throughput | None:
    """Return the throughput from a time up to the last commit."""
    counted = [commit for commit in commits if commit.at_s > since_s]
    if not counted:
        return None
    audio_s = sum(commit.audio_s for commit in counted)
    n_clips = sum(commit.clips for commit in counted)
    return Throughput(commits[-1].at_s - since_s, len(counted), n_clips, audio_s)


def _left(run: RunState, status: RunStatus, commits: Sequence[_Commit]) -> float | None:
    """Estimate the seconds left, by clips if their number is known, otherwise by shards."""
    speed = status.recent
    if speed is None:
        return None
    if run.clips_todo is not None and speed.clips:
        n_left = run.clips_todo - sum(commit.clips for commit in commits)
        return max(0, n_left) / speed.clips_per_s
    return max(0, run.shards - status.shards) * speed.wall_s / speed.shards
