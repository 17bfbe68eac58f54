"""The commit record of a finished shard, which makes its files count."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from pipeline.clips import Container
from pipeline.progress import Counts
from pipeline.table.json_record import from_json


@dataclass(frozen=True)
class CommitRecord:
    """The contents of a finished shard; also the receipt that a run counts.

    Attributes:
        shard: Id of the shard.
        clips: Number of clips that the shard was made of, embedded or not.
        rows: Number of rows by folder of the table.
        errors: Number of clips in `errors`, by class.
        audio_s: Seconds of audio embedded.
        windows: Number of windows embedded, whether or not the table holds them.
        files: Size in bytes of each data file.
        replaces: Ids of the shards that this shard replaces.
        container: Container that the clips were read from; None where they were listed one by one.
        fidelity: Distance of the model from fp32, measured by the process that wrote the record.
            None in fp32, and before that process had seen windows. Not compared.
        writer: Host, process and its GPUs, seconds by stage, and time of the commit; not compared.
        lease: Number of the hold under which the record was written. None in records of older
            versions. Not compared.
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
        """Counts of the shard."""
        return Counts(self.clips, self.windows, self.audio_s, Counter(self.errors))

    @property
    def finished_s(self) -> float | None:
        """Time of the commit in seconds since 1970; None in records of older versions."""
        found = self.writer.get("finished_s")
        return float(found) if isinstance(found, int | float) else None

    @property
    def stage_s(self) -> dict[str, float]:
        """Seconds that the shard took, by stage; empty where the record does not have them."""
        found = self.writer.get("seconds")
        if not isinstance(found, dict):
            return {}
        return {str(stage): s for stage, s in found.items() if isinstance(s, float | int)}

    @property
    def passed_over(self) -> Counter[str]:
        """Members of tars that are no clips, counted by ending."""
        found = self.writer.get("passed_over")
        if not isinstance(found, dict):
            return Counter()
        return Counter({str(kind): n for kind, n in found.items() if isinstance(n, int)})

    @classmethod
    def from_bytes(cls, content: bytes) -> "CommitRecord":
        """Read a record.

        Raises:
            StoreError: The content is no commit record.
        """
        return from_json(_RECORDS, content, "a commit record")


_RECORDS = TypeAdapter(CommitRecord)
