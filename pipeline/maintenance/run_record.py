"""What the last run says of itself in its table: that it began, and at last how it ended.

It is for `run_status`, and decides nothing: a table is whole or not whatever stands here. The run
that holds the table writes it, twice; one that is killed leaves it without an end.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Literal

from pydantic import TypeAdapter

from pipeline.errors import StoreError
from pipeline.planning.plan import Plan
from pipeline.table.json_record import from_json
from pipeline.table.store.base import TableStore
from pipeline.table.store.process_id import Process
from pipeline.table_layout import META_DIR
from pipeline.version import passtream_version

RUN_NAME = f"{META_DIR}/run.json"
FAILED_SHOWN = 5
_LONGEST_REASON = 1000

RunOutcome = Literal["finished", "stopped", "shards_failed", "error"]


@dataclass(frozen=True)
class RunState:
    """One run of `embed`.

    Attributes:
        started_s: when its plan was made, in seconds since 1970.
        process: that drives it.
        version: of passtream; empty where it is not installed.
        shards: of the table once the run is through, with those that were there before.
        shards_done: of these, committed before the run.
        clips_todo: clips that the run is to embed; None where only reading will tell.
        ended_s: when it ended, in seconds since 1970; None before, and where it was killed.
        outcome: how it ended; `error` where it was neither stopped nor came through.
        n_failed: shards that were given up.
        failed: why, by shard id; of many, the first ones.
        error: what ended it, where that was an error.
    """

    started_s: float
    process: Process
    version: str
    shards: int
    shards_done: int
    clips_todo: int | None
    ended_s: float | None = None
    outcome: RunOutcome | None = None
    n_failed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def shards_todo(self) -> int:
        """Shards that the run is to embed."""
        return self.shards - self.shards_done

    @classmethod
    def begun(cls, plan: Plan) -> "RunState":
        """A run of this process, with this plan, that begins now."""
        n_done = len(plan.done)
        return cls(
            started_s=round(time.time(), 3),
            process=Process.this(),
            version=passtream_version(),
            shards=n_done + len(plan.pending),
            shards_done=n_done,
            clips_todo=plan.n_clips,
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "RunState":
        """Read what a run wrote.

        Raises:
            StoreError: it is nothing that a run writes.
        """
        return from_json(_STATES, content, "the state of a run")


_STATES = TypeAdapter(RunState)


def shortened(reason: str) -> str:
    """What went wrong, as much of it as `run.json` keeps."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."


def read_run(store: TableStore) -> RunState | None:
    """What the last run says of itself; None where no run has said anything.

    Raises:
        StoreError: it cannot be read; the message names the file.
    """
    content = store.read(RUN_NAME)
    if content is None:
        return None
    try:
        return RunState.from_bytes(content)
    except StoreError as error:
        raise StoreError(f"{store.locate(RUN_NAME)}: {error}") from error


def write_run(store: TableStore, run: RunState) -> None:
    """Put it there in place of the run's before; only under the table's lock.

    Raises:
        StoreError: the store refused.
    """
    with store.replacing(RUN_NAME) as path:
        path.write_bytes(json.dumps(asdict(run), indent=1).encode())
