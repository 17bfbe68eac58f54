"""What every row of a table has in common: model, windows, outputs. Written once, in table.json.

A table holds one vector space. A run whose spec differs from the table's is refused, and shard ids
are hashed with the spec, so rows of two specs can never count as one another.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline.clips import SAMPLE_RATE_HZ, to_samples
from pipeline.errors import UsageError
from pipeline.packets import DecodeRule
from pipeline.windows import WindowRule

SCHEMA_VERSION = 1
TABLES = ("clips", "windows")
OUTPUTS = ("embedding", "logits")


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The spec of a table.

    Attributes:
        arch: name of the PaSST.
        weights_origin: `published`, `custom` or `random:SEED`; for people, not compared.
        weights_digest: sha256 of the weights' tensors.
        min_samples: fewest samples that the arch takes.
        embedding_dim: width of `embedding`.
        n_classes: width of `logits`.
        front_end_hop: STFT hop in samples.
        window_s: longest window in seconds.
        hop_s: from window to window in seconds.
        padding: `hear` or `none`.
        pad_short: clips too short for the arch are padded with zeros.
        tables: which of `clips` and `windows` are written.
        outputs: which of `embedding` and `logits` their rows hold.
        sample_rate_hz: rate of the audio that the model sees.
        schema_version: of the files.
    """

    arch: str
    weights_origin: str
    weights_digest: str
    min_samples: int
    embedding_dim: int
    n_classes: int
    front_end_hop: int
    window_s: float
    hop_s: float
    padding: str = "hear"
    pad_short: bool = False
    tables: tuple[str, ...] = ("clips",)
    outputs: tuple[str, ...] = ("embedding",)
    sample_rate_hz: int = SAMPLE_RATE_HZ
    schema_version: int = SCHEMA_VERSION

    @property
    def window_rule(self) -> WindowRule:
        """How clips are cut."""
        return WindowRule(to_samples(self.window_s), to_samples(self.hop_s), self.padding)

    @property
    def decode_rule(self) -> DecodeRule:
        """What the decode side needs."""
        return DecodeRule(self.window_rule, self.min_samples, self.pad_short)

    @property
    def digest(self) -> str:
        """Hash of all that rows depend on."""
        return hashlib.sha256(json.dumps(self._compared(), sort_keys=True).encode()).hexdigest()

    def _compared(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        del fields["weights_origin"]
        return fields

    def differences(self, other: "TableSpec") -> list[str]:
        """`field: ours, theirs` for each field in which the specs differ."""
        ours, theirs = self._compared(), other._compared()
        return [
            f"{key}: {ours[key]!r}, {theirs[key]!r}" for key in ours if ours[key] != theirs[key]
        ]

    def to_json(self) -> dict[str, Any]:
        """As it is written to table.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "TableSpec":
        """Read what `to_json` wrote.

        Raises:
            UsageError: the table was written by another version of the schema.
        """
        version = fields.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"the table has schema version {version}, this passtream writes {SCHEMA_VERSION}; "
                "use the passtream that wrote it, or a new table"
            )
        return cls(
            **{**fields, "tables": tuple(fields["tables"]), "outputs": tuple(fields["outputs"])}
        )
