"""Conversion between the settings of a run and the spec of the table that it writes."""

from collections.abc import Mapping
from typing import Any, Protocol

from jobs.settings.config import EmbedConfig
from models.archs import EMBED_DIM
from models.inference.timestamp_levels import longest_window, timestamp_levels, timestamp_size
from pipeline.table.spec import OUTPUTS, TABLES, Route, TableSpec


class _Weights(Protocol):
    """The part of `Weights` that a table spec needs, without importing torch."""

    @property
    def origin(self) -> str: ...
    @property
    def digest(self) -> str: ...


def table_spec(
    config: EmbedConfig, weights: Mapping[str, _Weights], columns: tuple[str, ...] = ()
) -> TableSpec:
    """Return the spec of the table that a run with these settings writes.

    Args:
        config: Settings of the run.
        weights: Weights by the name of their arch.
        columns: Columns of the source that are copied into the table.
    """
    first, kind = config.archs[0], config.timestamp_kind
    levels = timestamp_levels(kind, first) if kind else ()
    window_s, hop_s = config.window_and_hop_s
    return TableSpec(
        routes=tuple(
            Route(
                arch=arch.name,
                up_to_s=window_s if arch is config.archs[-1] else arch.max_window_s,
                weights_origin=weights[arch.name].origin,
                weights_digest=weights[arch.name].digest,
                front_end_hop=arch.hop_samples,
            )
            for arch in config.archs
        ),
        min_samples=first.min_samples,
        embedding_dim=EMBED_DIM,
        n_classes=first.n_classes,
        window_s=window_s,
        hop_s=hop_s,
        long_clips=config.long_clips,
        padding=config.padding,
        pad_short=config.pad_short,
        max_clip_s=config.max_clip_s,
        max_clip_bytes=config.max_clip_bytes,
        short_tolerance=config.short_tolerance,
        # The order in which the user named them must not change the spec's digest.
        tables=tuple(name for name in TABLES if name in config.tables),
        outputs=tuple(name for name in OUTPUTS if name in config.outputs),
        top_k=config.n_labels,
        precision=config.precision,
        columns=columns,
        timestamps=kind,
        timestamp_dim=timestamp_size(levels, first.n_classes + EMBED_DIM),
        timestamp_window=longest_window(levels) if kind else 0,
    )


def settings_from_spec(spec: TableSpec) -> dict[str, Any]:
    """Return the settings that a table was made with, by field name of `EmbedConfig`."""
    return {
        "arch": spec.routes[0].arch,
        "long_clips": spec.long_clips,
        "window_s": spec.window_s if spec.long_clips == "window" else None,
        "hop_s": spec.hop_s,
        "padding": spec.padding,
        "pad_short": spec.pad_short,
        "max_clip_s": spec.max_clip_s,
        "max_clip_bytes": spec.max_clip_bytes,
        "short_tolerance": spec.short_tolerance,
        "tables": spec.tables,
        "outputs": spec.outputs,
        "top_k": spec.top_k or None,
        "precision": spec.precision,
        "timestamps": spec.timestamps or None,
    }
