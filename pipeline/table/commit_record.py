"""The record of a finished shard, which makes its files count."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from pipeline.clips import Container
from pipeline.progress import Counts
from pipeline.table.json_record import from_json


@dataclass(frozen=True)
class CommitRecord:
    """What a finished shard consists of; also the receipt that a run counts.

    Attributes:
        shard: its id.
        clips: clips that went in, embedded or not.
        rows: rows per table.
        errors: clips in `errors`, by class.
        audio_s: seconds of audio embedded.
        windows: windows embedded, whether or not the table holds them.
        files: size in bytes of each data file.
        replaces: ids of the shards that this one stands for.
        container: what the clips were read from, where they were not listed one by one.
        fidelity: how far the model was from fp32, measured by the process that wrote this; None in
            fp32, and before that process had seen windows; not compared.
        writer: host, process and its GPUs, seconds by stage, and when it was done; not compared.
        lease: Number of the hold under which it was written; None in records of older versions,
            and not compared.
    """

    shard: str
    clips: int
    rows: dict[str, int]
    errors: dict[str, int]
    audio_s: float
    windows: int
    files: dict[str, int]
    replaces: tuple[str, ...] = ()
    container: Container | None = None
    fidelity: dict[str, Any] | None = field(default=None, compare=False)
    writer: dict[str, Any] = field(default_factory=dict, compare=False)
    lease: int | None = field(default=None, compare=False)

    @property
    def counts(self) -> Counts:
        """The record as progress made."""
        return Counts(self.clips, self.windows, self.audio_s, Counter(self.errors))

    @property
    def finished_s(self) -> float | None:
        """When it was committed, in seconds since 1970; None in records of older versions."""
        found = self.writer.get("finished_s")
        return float(found) if isinstance(found, int | float) else None

    @property
    def stage_s(self) -> dict[str, float]:
        """Seconds that the shard took, by stage; empty where the record does not say."""
        found = self.writer.get("seconds")
        if not isinstance(found, dict):
            return {}
        return {str(stage): s for stage, s in found.items() if isinstance(s, float | int)}

    @property
    def passed_over(self) -> Counter[str]:
        """Members of tars that are no clips, counted by ending, where the record has them."""
        found = self.writer.get("passed_over")
        if not isinstance(found, dict):
            return Counter()
        return Counter({str(kind): n for kind, n in found.items() if isinstance(n, int)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "CommitRecord":
        """Read a record.

        Raises:
            StoreError: it is not one.
        """
        return from_json(_RECORDS, content, "a commit record")


_RECORDS = TypeAdapter(CommitRecord)
