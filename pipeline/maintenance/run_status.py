"""How far a run is, from its table alone: what is committed, when, and what `run.json` says.

Nothing is asked of the run itself, so it may be on another machine, or dead. A speed is what came
in between two commits, over the time between them: what is under way is in neither, so it neither
adds nor takes away. Times are those of the machines that wrote them.
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
"""What "the last minutes" are, at least."""
SILENT_S = 300.0
"""How long a run that holds no table may show no sign before it is taken for dead."""

RunCondition = RunOutcome | Literal["running", "perhaps_running", "not_running", "unknown"]


@dataclass(frozen=True)
class Throughput:
    """What was committed in a time.

    Attributes:
        wall_s: the time, in seconds; more than 0.
        shards: committed in it.
        clips: of these, errors included.
        audio_s: seconds of audio embedded.
    """

    wall_s: float
    shards: int
    clips: int
    audio_s: float

    @property
    def x_real_time(self) -> float:
        """Seconds of audio a second."""
        return self.audio_s / self.wall_s

    @property
    def clips_per_s(self) -> float:
        """Clips a second, errors included."""
        return self.clips / self.wall_s


@dataclass
class RunStatus:
    """What `status` found.

    Attributes:
        now_s: when it looked, in seconds since 1970.
        standing: what the last run is doing, or how it ended; `not_running` is as far as can be
            told, and `unknown` where no run has said anything.
        run: the last run, where it has said something.
        writer: who holds the table.
        shards: committed.
        counts: of the committed shards; `clips` has the errors in it.
        stage_s: seconds that the committed shards took, by stage.
        last_commit_s: when, in seconds since 1970; None where no record says.
        recent: of the last `RECENT_S` before the last commit; None where there is too little.
        overall: of the run up to its last commit; None where it has none.
        left_s: seconds that the run still needs, at its recent speed; None where nobody knows.
        notes: what a reader may want to know.
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
        """For `--json`."""
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
    """Look at a table and tell how its last run is doing. Writes nothing.

    Args:
        table: the table.
        now_s: what time it is, in seconds since 1970; None asks the clock.

    Raises:
        StoreError: the table cannot be read.
    """
    status = RunStatus(time.time() if now_s is None else now_s)
    # Before the commits: one that comes between is then seen, and none is missed of an ended run.
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
    """Count all commit records; those that know their time, in its order."""
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
    # A run was killed before it took them away: their clips are in other records as well.
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
    """The last moment, of the run's start and its commits, that is `RECENT_S` before the last."""
    moments = [commit.at_s for commit in commits]
    if run:
        moments.insert(0, run.started_s)
    until_s = moments[-1] - RECENT_S
    return max((each for each in moments if each <= until_s), default=moments[0])


def _speed(commits: Sequence[_Commit], since_s: float) -> Throughput | None:
    """Of what was committed after a moment, up to the last commit."""
    counted = [commit for commit in commits if commit.at_s > since_s]
    if not counted:
        return None
    audio_s = sum(commit.audio_s for commit in counted)
    n_clips = sum(commit.clips for commit in counted)
    return Throughput(commits[-1].at_s - since_s, len(counted), n_clips, audio_s)


def _left(run: RunState, status: RunStatus, commits: Sequence[_Commit]) -> float | None:
    """By clips where their number is known, else by shards, as these may differ in size."""
    speed = status.recent
    if speed is None:
        return None
    if run.clips_todo is not None and speed.clips:
        n_left = run.clips_todo - sum(commit.clips for commit in commits)
        return max(0, n_left) / speed.clips_per_s
    return max(0, run.shards - status.shards) * speed.wall_s / speed.shards
