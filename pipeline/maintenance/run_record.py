"""The record of a table's last run: when it began, and how it ended.

`run_status` reads it; it decides nothing else, and a table can be whole without it. The run that
holds the table writes it at its start and at its end. A killed run leaves it without an end.
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
        started_s: Time of its plan, in seconds since 1970.
        process: The process of the driver.
        version: Version of passtream; empty where it is not installed.
        shards: Number of shards of the table after the run, including those before it.
        shards_done: Number of shards that were committed before the run.
        clips_todo: Number of clips to embed; None where a container has to be read to count them.
        ended_s: Time of its end, in seconds since 1970; None before that, and after a kill.
        outcome: Outcome of the run; `error` if it was not stopped and did not come to its end.
        n_failed: Number of shards that failed.
        failed: Reasons by shard id, of the first shards that failed.
        error: The error that ended the run; empty for none.
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
        """Number of shards to embed."""
        return self.shards - self.shards_done

    @classmethod
    def begun(cls, plan: Plan) -> "RunState":
        """Return the record of a run of this process that begins now."""
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
        """Read a record.

        Raises:
            StoreError: The content is no record of a run.
        """
        return from_json(_STATES, content, "the state of a run")


_STATES = TypeAdapter(RunState)


def shortened(reason: str) -> str:
    """Cut a reason to the length that `run.json` keeps."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."


def read_run(store: TableStore) -> RunState | None:
    """Read the record of the last run; return None where there is none.

    Raises:
        StoreError: The record cannot be read; the message names the file.
    """
    content = store.read(RUN_NAME)
    if content is None:
        return None
    try:
        return RunState.from_bytes(content)
    except StoreError as error:
        raise StoreError(f"{store.locate(RUN_NAME)}: {error}") from error


def write_run(store: TableStore, run: RunState) -> None:
    """Write the record of a run over the previous one; the table's lock must be held.

    Raises:
        StoreError: The store refused.
    """
    with store.replacing(RUN_NAME) as path:
        path.write_bytes(json.dumps(asdict(run), indent=1).encode())
