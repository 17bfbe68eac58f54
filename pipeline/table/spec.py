"""The spec of a table: models, windows and outputs that all rows have in common.

The spec is written once, to table.json. A run whose spec differs from the table's is refused. Shard
ids are hashed with the spec, so rows of two specs can never be taken for one another. Every row
names its arch; vectors of one arch lie in one space.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio import SAMPLE_RATE_HZ, to_samples
from pipeline.errors import UsageError
from pipeline.limits import (
    DEFAULT_MAX_CLIP_BYTES,
    DEFAULT_MAX_CLIP_S,
    DEFAULT_SHORT_TOLERANCE,
    Limits,
)
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.windows import WindowRule

SCHEMA_VERSION = 3
TABLES = ("clips", "windows", "timestamps")
OUTPUTS = ("embedding", "logits", "labels")
TIMESTAMP_HOP = 1600
"""Samples at 32 kHz from one timestamp to the next; 50 ms."""
_SHOWN_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Route:
    """One model of a table, and the length of the clips that go through it.

    Attributes:
        arch: Name of the arch.
        up_to_s: Longest clip or window of the route in seconds. Clips that fit an earlier route go
            through that one.
        weights_origin: `published`, `custom` or `random:SEED`; for people, not compared.
        weights_digest: Sha256 of the weights' tensors.
        front_end_hop: Hop of the STFT in samples.
    """

    arch: str
    up_to_s: float
    weights_origin: str
    weights_digest: str
    front_end_hop: int


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The spec of a table.

    Attributes:
        routes: Routes by length. Clips longer than the last route's are cut into windows for it.
        min_samples: Smallest number of samples that the first route's arch takes.
        embedding_dim: Width of `embedding`.
        n_classes: Width of `logits`.
        window_s: Longest window in seconds, that of the last route.
        hop_s: Seconds from the start of a window to the start of the next.
        long_clips: `window` (one route) or `route`.
        padding: `hear` or `none`.
        pad_short: Whether clips too short for the table are padded with zeros.
        max_clip_s: Longest clip in seconds; longer ones are errors.
        max_clip_bytes: Largest file of a clip in bytes; larger ones are errors.
        short_tolerance: Share of the declared length of a clip that may be missing.
        tables: Names from `TABLES` that are written.
        outputs: Names from `OUTPUTS` that the rows of `clips` and `windows` hold.
        top_k: Number of `labels` per row; 0 for no labels.
        precision: Precision of the models: `fp32`, `tf32`, `bf16`, `fp16` or `int8`.
        columns: Columns of the source that `clips` carries, as text.
        timestamps: `base`, `base2level` or `base2levelmel`; empty for no timestamps.
        timestamp_dim: Width of a timestamp's embedding.
        timestamp_window: Samples of the longest window around a timestamp.
        timestamp_hop: Samples from one timestamp to the next.
        sample_rate_hz: Sample rate of the audio that the models take.
        schema_version: Version of the files' schema.
    """

    routes: tuple[Route, ...]
    min_samples: int
    embedding_dim: int
    n_classes: int
    window_s: float
    hop_s: float
    long_clips: str = "window"
    padding: str = "hear"
    pad_short: bool = False
    max_clip_s: float = DEFAULT_MAX_CLIP_S
    max_clip_bytes: int = DEFAULT_MAX_CLIP_BYTES
    short_tolerance: float = DEFAULT_SHORT_TOLERANCE
    tables: tuple[str, ...] = ("clips",)
    outputs: tuple[str, ...] = ("embedding",)
    top_k: int = 0
    precision: str = "fp32"
    columns: tuple[str, ...] = ()
    timestamps: str = ""
    timestamp_dim: int = 0
    timestamp_window: int = 0
    timestamp_hop: int = TIMESTAMP_HOP
    sample_rate_hz: int = SAMPLE_RATE_HZ
    schema_version: int = SCHEMA_VERSION

    @property
    def window_rule(self) -> WindowRule:
        """Rule by which clips are cut."""
        return WindowRule(to_samples(self.window_s), to_samples(self.hop_s), self.padding)

    @property
    def timestamp_rule(self) -> WindowRule | None:
        """Rule by which clips are cut for their timestamps; None for no timestamps."""
        if "timestamps" not in self.tables:
            return None
        return WindowRule(self.timestamp_window, self.timestamp_hop, whole=False)

    @property
    def shortest_clip(self) -> int:
        """Samples of the shortest clip that can be embedded; shorter clips are padded to it.

        A timestamp's window is reflected by half its length, which takes one sample more.
        """
        rule = self.timestamp_rule
        return max(self.min_samples, rule.pad + 1) if rule else self.min_samples

    @property
    def decode_rule(self) -> DecodeRule:
        """Settings that decoding depends on."""
        return DecodeRule(
            self.window_rule,
            self.shortest_clip,
            self.pad_short,
            self.timestamp_rule,
            Limits(self.max_clip_s, self.max_clip_bytes, self.short_tolerance),
        )

    def n_timestamps(self, n_samples: int) -> int:
        """Return the number of timestamps of a clip of `n_samples`."""
        rule = self.timestamp_rule
        return rule.count(max(n_samples, self.shortest_clip)) if rule else 0

    def timestamp_ms(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the times of timestamps in a clip, in milliseconds."""
        return np.multiply(index, 1000 * self.timestamp_hop / SAMPLE_RATE_HZ, dtype=np.float64)

    def arch_for(self, n_samples: int) -> str:
        """Return the name of the arch for a clip of `n_samples`, or for its windows."""
        return self.routes[self.route_index(n_samples)].arch

    def route_index(self, n_samples: int) -> int:
        """Return the index in `routes` of the route for a clip or window of `n_samples`."""
        for index, route in enumerate(self.routes):
            if n_samples <= to_samples(route.up_to_s):
                return index
        return len(self.routes) - 1

    @property
    def digest(self) -> str:
        """Hash of all settings that rows depend on."""
        fields = self.to_json()
        for route in fields["routes"]:
            del route["weights_origin"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def differences(self, other: "TableSpec") -> list[str]:
        """Return `setting: ours, theirs` for each setting in which two specs differ."""
        ours, theirs = self._compared(), other._compared()
        return [
            f"{key}: {_shown(ours[key])}, {_shown(theirs[key])}"
            for key in ours
            if ours[key] != theirs[key]
        ]

    def _compared(self) -> dict[str, Any]:
        """Return the values by setting; routes as arch, weights and so on, as users give them."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["routes"]
        return {
            "arch": tuple(route.arch for route in self.routes),
            "weights": tuple(route.weights_digest for route in self.routes),
            "front_end_hop": tuple(route.front_end_hop for route in self.routes),
            # The last route's is `window_s`.
            "route_up_to_s": tuple(route.up_to_s for route in self.routes[:-1]),
        } | fields

    def to_json(self) -> dict[str, Any]:
        """Return the spec as it is written to table.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "TableSpec":
        """Read what `to_json` wrote.

        Raises:
            UsageError: The table was written by another version of the schema.
        """
        version = fields.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"the table has schema version {version}, this passtream writes {SCHEMA_VERSION}; "
                "use the passtream that wrote it, or a new table"
            )
        routes = tuple(Route(**route) for route in fields["routes"])
        if not routes:
            raise ValueError("its spec names no arch")
        tuples = {name: tuple(fields[name]) for name in ("tables", "outputs", "columns")}
        return cls(**{**fields, **tuples, "routes": routes})


def _shown(value: object) -> str:
    """Return a value as users give it: lists with commas, digests by their first letters."""
    if not isinstance(value, tuple):
        return repr(value)
    shown = (str(part)[:_SHOWN_DIGEST] if _is_digest(part) else str(part) for part in value)
    return ",".join(shown) or "none"


def _is_digest(part: object) -> bool:
    return isinstance(part, str) and len(part) == 64
