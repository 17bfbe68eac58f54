"""The rows of a clip: of `clips` and `windows`, of `timestamps`, or of `errors`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.embedding.model import Model, Vectors
from pipeline.stream.events import ClipDone, ClipFailed, TimestampBlock
from pipeline.table.row_writer import RowWriter
from pipeline.table.schema import LABEL_FIELDS
from pipeline.table.spec import TableSpec


class ClipRows:
    """A writer of the rows of clips.

    Args:
        spec: Spec of the table.
        model: Model that names the labels.
        writer: Writer of rows to files.

    Attributes:
        vectors: Names of the model's outputs that rows need: `embedding`, `logits` or both.
    """

    def __init__(self, spec: TableSpec, model: Model, writer: RowWriter) -> None:
        self._spec = spec
        self._rule = spec.window_rule
        self._model = model
        self._writer = writer
        # Labels are made of logits.
        self.vectors = sorted({"logits" if name == "labels" else name for name in spec.outputs})

    def write_clip(
        self,
        ref: ClipRef,
        done: ClipDone,
        means: Mapping[str, Vectors],
        windows: Sequence[Mapping[str, Vectors]],
    ) -> None:
        """Write an embedded clip to `clips` and `windows`.

        Args:
            ref: The clip.
            done: Event that ended the clip.
            means: Means over the clip's windows, float32 (width,) each, by name.
            windows: Outputs of each window, in order; empty where the table has no `windows`.
        """
        arch = self._spec.arch_for(done.n_samples)
        self._writer.add(
            "clips",
            _identity(ref)
            | _position(ref, self._spec.columns)
            | {
                "duration_s": done.n_samples / SAMPLE_RATE_HZ,
                "sample_rate_hz": done.sample_rate_hz,
                "channels": done.channels,
                "arch": arch,
                "n_windows": done.n_windows,
                "decoded_short": done.decoded_short,
            }
            | dataclasses.asdict(done.quality)
            | self._outputs(means),
        )
        if not windows:
            return
        spans = [self._rule.span(index, done.n_samples) for index in range(len(windows))]
        outputs = [self._outputs(vectors) for vectors in windows]
        self._writer.add_block(
            "windows",
            _identity(ref) | {"arch": arch},
            {
                "window_index": range(len(windows)),
                "start_s": [start / SAMPLE_RATE_HZ for start, _ in spans],
                "end_s": [end / SAMPLE_RATE_HZ for _, end in spans],
            }
            | {name: [each[name] for each in outputs] for name in self._spec.outputs},
        )

    def write_timestamps(self, ref: ClipRef, block: TimestampBlock, embeddings: Vectors) -> None:
        """Write consecutive timestamps of a clip that may still fail.

        Args:
            ref: The clip.
            block: The timestamps.
            embeddings: Float32 (timestamps, width).
        """
        index = np.arange(block.first_index, block.first_index + block.n)
        self._writer.add_block(
            "timestamps",
            _identity(ref) | {"arch": self._spec.routes[0].arch},
            {
                "timestamp_index": index,
                "timestamp_ms": self._spec.timestamp_ms(index),
                "embedding": embeddings,
            },
        )

    def write_error(self, ref: ClipRef, failed: ClipFailed) -> None:
        """Write a failed clip to `errors`, and remove its other rows."""
        self._writer.drop(ref.clip_id)
        self._writer.add(
            "errors",
            _identity(ref)
            | {"stage": failed.stage, "class": failed.error_class, "message": failed.message},
        )

    def _outputs(self, vectors: Mapping[str, Vectors]) -> dict[str, Any]:
        """Return the output columns of a row that the spec asks for."""
        columns: dict[str, Any] = {n: v for n, v in vectors.items() if n in self._spec.outputs}
        if "labels" in self._spec.outputs:
            labels = self._model.top_labels(vectors["logits"][None], self._spec.top_k)[0]
            columns["labels"] = [dict(zip(LABEL_FIELDS, each, strict=True)) for each in labels]
        return columns


def _identity(ref: ClipRef) -> dict[str, str]:
    return {
        "clip_id": ref.clip_id,
        "uri": ref.uri,
        "member": ref.member,
        "source_version": ref.version,
    }


def _position(ref: ClipRef, columns: Sequence[str]) -> dict[str, Any]:
    """Return the position of a clip in its file, and its carried columns."""
    offset, size = ref.byte_range or (None, None)
    carried = ref.carried or (None,) * len(columns)
    return {
        "start_s": ref.span[0] if ref.span else 0.0,
        "member_offset": offset,
        "member_bytes": size,
        **dict(zip(columns, carried, strict=True)),
    }
