"""What came of a clip to its rows: of `clips` and `windows`, of `timestamps`, or of `errors`."""

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
    """Writes the rows of clips.

    Args:
        spec: of the table.
        model: names the labels.
        writer: takes the rows.

    Attributes:
        vectors: the model's outputs that rows are made of, `embedding` or `logits`.
    """

    def __init__(self, spec: TableSpec, model: Model, writer: RowWriter) -> None:
        self._spec = spec
        self._rule = spec.window_rule
        self._model = model
        self._writer = writer
        # Labels are made of logits.
        self.vectors = sorted({"logits" if name == "labels" else name for name in spec.outputs})

    def embedded(
        self,
        ref: ClipRef,
        done: ClipDone,
        means: Mapping[str, Vectors],
        windows: Sequence[Mapping[str, Vectors]],
    ) -> None:
        """A clip that is embedded, to `clips` and `windows`.

        Args:
            ref: the clip.
            done: what the decode side says of it.
            means: over its windows, float32 (width,) each, by name.
            windows: the same of each window, in order; none where the table has no `windows`.
        """
        arch = self._spec.arch_for(done.n_samples)
        self._writer.add(
            "clips",
            _identity(ref)
            | _place(ref, self._spec.columns)
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

    def timestamps(self, ref: ClipRef, block: TimestampBlock, embeddings: Vectors) -> None:
        """Consecutive timestamps of a clip that may fail yet.

        Args:
            ref: the clip.
            block: which ones.
            embeddings: float32 (timestamps, width).
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

    def failed(self, ref: ClipRef, failed: ClipFailed) -> None:
        """A clip that cannot be embedded, to `errors`; what was written of it is taken back."""
        self._writer.drop(ref.clip_id)
        self._writer.add(
            "errors",
            _identity(ref)
            | {"stage": failed.stage, "class": failed.error_class, "message": failed.message},
        )

    def _outputs(self, vectors: Mapping[str, Vectors]) -> dict[str, Any]:
        """The columns of a row that the spec asks for."""
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


def _place(ref: ClipRef, columns: Sequence[str]) -> dict[str, Any]:
    """Where the clip lies in its recording or container, and what the source says of it."""
    offset, size = ref.byte_range or (None, None)
    carried = ref.carried or (None,) * len(columns)
    return {
        "start_s": ref.span[0] if ref.span else 0.0,
        "member_offset": offset,
        "member_bytes": size,
        **dict(zip(columns, carried, strict=True)),
    }
