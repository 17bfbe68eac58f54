"""What every row of a table has in common: models, windows, outputs. Written once, in table.json.

A table is made with one set of settings, and its rows carry their arch, whose vectors live in one
space. A run whose spec differs from the table's is refused, and shard ids are hashed with the spec,
so rows of two specs can never count as one another.
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
"""Samples from one timestamp to the next: 50 ms."""
_SHOWN_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Route:
    """One PaSST of a table, and the clips that go through it.

    Attributes:
        arch: its name.
        up_to_s: longest clip, or window, in seconds; those of the routes before are not its own.
        weights_origin: `published`, `custom` or `random:SEED`; for people, not compared.
        weights_digest: sha256 of the weights' tensors.
        front_end_hop: STFT hop in samples.
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
        routes: by length; clips longer than the last one's are cut into windows for it.
        min_samples: fewest samples that the first route's arch takes.
        embedding_dim: width of `embedding`.
        n_classes: width of `logits`.
        window_s: longest window in seconds, the last route's.
        hop_s: from window to window in seconds.
        long_clips: `window` (one route) or `route`.
        padding: `hear` or `none`.
        pad_short: clips too short for the table are padded with zeros.
        max_clip_s: longest clip in seconds; longer ones are errors.
        max_clip_bytes: largest file of a clip; larger ones are errors.
        short_tolerance: share of a clip that may be missing of what its file promises.
        tables: which of `TABLES` are written.
        outputs: which of `OUTPUTS` the rows of `clips` and `windows` hold.
        top_k: how many `labels` a row has; 0 where it has none.
        precision: that the models run in: `fp32`, `tf32`, `bf16`, `fp16` or `int8`.
        columns: what the source says of a clip and its row in `clips` carries, as text.
        timestamps: `base`, `base2level` or `base2levelmel`; empty where there are none.
        timestamp_dim: width of a timestamp's embedding.
        timestamp_window: samples of the longest window around a timestamp.
        timestamp_hop: samples from one timestamp to the next.
        sample_rate_hz: rate of the audio that the models see.
        schema_version: of the files.
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
        """How clips are cut."""
        return WindowRule(to_samples(self.window_s), to_samples(self.hop_s), self.padding)

    @property
    def timestamp_rule(self) -> WindowRule | None:
        """How clips are cut for their timestamps, None where the table has none."""
        if "timestamps" not in self.tables:
            return None
        return WindowRule(self.timestamp_window, self.timestamp_hop, whole=False)

    @property
    def shortest_clip(self) -> int:
        """Samples of the shortest clip that can be embedded, or that shorter ones are padded to.

        A timestamp's window is reflected by half its length, which takes one sample more.
        """
        rule = self.timestamp_rule
        return max(self.min_samples, rule.pad + 1) if rule else self.min_samples

    @property
    def decode_rule(self) -> DecodeRule:
        """What the decode side needs."""
        return DecodeRule(
            self.window_rule,
            self.shortest_clip,
            self.pad_short,
            self.timestamp_rule,
            Limits(self.max_clip_s, self.max_clip_bytes, self.short_tolerance),
        )

    def n_timestamps(self, n_samples: int) -> int:
        """Timestamps of a clip of `n_samples`."""
        rule = self.timestamp_rule
        return rule.count(max(n_samples, self.shortest_clip)) if rule else 0

    def timestamp_ms(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where timestamps lie in a clip, in milliseconds."""
        return np.multiply(index, 1000 * self.timestamp_hop / SAMPLE_RATE_HZ, dtype=np.float64)

    def arch_for(self, n_samples: int) -> str:
        """The arch that a clip of `n_samples`, or each of its windows, goes through."""
        return self.routes[self.route_index(n_samples)].arch

    def route_index(self, n_samples: int) -> int:
        """Place in `routes` of the one for a clip, or a window, of `n_samples`."""
        for index, route in enumerate(self.routes):
            if n_samples <= to_samples(route.up_to_s):
                return index
        return len(self.routes) - 1

    @property
    def digest(self) -> str:
        """Hash of all that rows depend on."""
        fields = self.to_json()
        for route in fields["routes"]:
            del route["weights_origin"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def differences(self, other: "TableSpec") -> list[str]:
        """`setting: ours, theirs` for each setting in which the specs differ."""
        ours, theirs = self._compared(), other._compared()
        return [
            f"{key}: {_shown(ours[key])}, {_shown(theirs[key])}"
            for key in ours
            if ours[key] != theirs[key]
        ]

    def _compared(self) -> dict[str, Any]:
        """Setting by setting: the routes as an arch, weights, ... each, as they are given."""
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
        routes = tuple(Route(**route) for route in fields["routes"])
        if not routes:
            raise ValueError("its spec names no arch")
        tuples = {name: tuple(fields[name]) for name in ("tables", "outputs", "columns")}
        return cls(**{**fields, **tuples, "routes": routes})


def _shown(value: object) -> str:
    """A value as it would be given: lists with commas, digests by their beginning."""
    if not isinstance(value, tuple):
        return repr(value)
    shown = (str(part)[:_SHOWN_DIGEST] if _is_digest(part) else str(part) for part in value)
    return ",".join(shown) or "none"


def _is_digest(part: object) -> bool:
    return isinstance(part, str) and len(part) == 64
