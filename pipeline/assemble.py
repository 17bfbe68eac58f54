"""The model side of a shard: events become embeddings, and these rows, one a clip.

Windows of many clips wait in one pool until there is enough audio for well-filled batches. A
clip's row is the mean over its windows; it is written when the clip has ended and its last window
has come back. Timestamps are embedded and written as they come, as a long clip has more than memory
holds; those of a clip that turns out damaged are taken back, so that it leaves its error only.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clips import SAMPLE_RATE_HZ, ClipRef
from pipeline.errors import BrokenStreamError
from pipeline.model import Model, Vectors
from pipeline.packets import ClipDone, ClipFailed, Event, ShardEnd, TimestampBlock
from pipeline.progress import Progress
from pipeline.rows import RowWriter
from pipeline.schema import LABEL_FIELDS
from pipeline.spec import TableSpec
from pipeline.windows import Samples, WindowBlock

POOL_S = 160.0
"""Seconds of windows that wait for a batch: 20 MB."""


@dataclass
class _OpenClip:
    """A clip between its first window and its row."""

    n_windows: int = 0
    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    windows: list[dict[str, Vectors]] = field(default_factory=list)
    n_timestamps: int = 0
    is_finite: bool = True
    done: ClipDone | None = None

    @property
    def is_complete(self) -> bool:
        """It has ended, and all that was sent of it has been embedded."""
        return (
            self.done is not None
            and self.n_windows >= self.done.n_windows
            and self.n_timestamps >= self.done.n_timestamps
        )


class Assembler:
    """Turns the events of one shard into its rows.

    Args:
        clips: of the shard, in order.
        spec: of the table.
        model: embeds windows and timestamps.
        writer: takes the rows.
        on_progress: told of the counts whenever they change.
    """

    def __init__(
        self,
        clips: Sequence[ClipRef],
        spec: TableSpec,
        model: Model,
        writer: RowWriter,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.progress = Progress()
        self._clips = clips
        self._spec = spec
        self._rule = spec.window_rule
        self._model = model
        self._writer = writer
        self._on_progress = on_progress
        self._open: dict[int, _OpenClip] = {}
        self._pool: list[tuple[int, Samples]] = []
        self._pool_samples = 0
        self._windows_seen = 0
        self._timestamps_seen = 0
        # What is kept of a window: labels are made of logits.
        sources = {"logits" if name == "labels" else name for name in spec.outputs}
        self._vectors = sorted(sources)
        self._end: ShardEnd | None = None

    def consume(self, packets: Iterable[list[Event]]) -> None:
        """Take all events of the shard.

        Raises:
            BrokenStreamError: the stream did not account for every clip and window.
        """
        for packet in packets:
            for event in packet:
                self._take(event)
        self._embed_pool()
        self._check_complete()

    def _take(self, event: Event) -> None:
        match event:
            case WindowBlock():
                for window in event.windows():
                    self._windows_seen += 1
                    self._pool.append((event.clip, window))
                    self._pool_samples += len(window)
                    if self._pool_samples >= POOL_S * SAMPLE_RATE_HZ:
                        self._embed_pool()
            case TimestampBlock():
                self._embed_timestamps(event)
            case ClipDone():
                self._open.setdefault(event.clip, _OpenClip()).done = event
                self._write_if_complete(event.clip)
            case ClipFailed():
                self._open.pop(event.clip, None)
                self._pool = [entry for entry in self._pool if entry[0] != event.clip]
                self._pool_samples = sum(len(window) for _, window in self._pool)
                self._fail(event)
            case ShardEnd():
                self._end = event

    def _embed_pool(self) -> None:
        if not self._pool:
            return
        outputs = self._model.embed([window for _, window in self._pool])
        named = {"embedding": outputs.features, "logits": outputs.logits}
        touched = dict.fromkeys(clip for clip, _ in self._pool)
        for row, (clip, _) in enumerate(self._pool):
            vectors = {name: named[name][row] for name in self._vectors}
            state = self._open.setdefault(clip, _OpenClip())
            state.n_windows += 1
            for name, vector in vectors.items():
                total = state.sums.setdefault(name, np.zeros(len(vector)))
                total += vector
            if "windows" in self._spec.tables:
                state.windows.append(vectors)
        self._pool, self._pool_samples = [], 0
        for clip in touched:
            self._write_if_complete(clip)
        self._on_progress(self.progress)

    def _embed_timestamps(self, block: TimestampBlock) -> None:
        self._timestamps_seen += block.n
        state = self._open.setdefault(block.clip, _OpenClip())
        state.n_timestamps += block.n
        if not state.is_finite:
            return
        embeddings = self._model.embed_timestamps(block.pcm, block.n)
        state.is_finite = bool(np.isfinite(embeddings).all())
        index = np.arange(block.first_index, block.first_index + block.n)
        self._writer.add_block(
            "timestamps",
            self._identity(block.clip) | {"arch": self._spec.routes[0].arch},
            {
                "timestamp_index": index,
                "timestamp_ms": self._spec.timestamp_ms(index),
                "embedding": embeddings,
            },
        )

    def _write_if_complete(self, clip: int) -> None:
        state = self._open[clip]
        if not state.is_complete:
            return
        del self._open[clip]
        done = state.done
        assert done
        means = {name: (s / done.n_windows).astype(np.float32) for name, s in state.sums.items()}
        if not state.is_finite or not all(np.isfinite(mean).all() for mean in means.values()):
            message = f"{self._clips[clip].uri}: the model's output is not finite"
            self._fail(ClipFailed(clip, "embed", "non_finite_output", message))
            return
        arch = self._spec.arch_for(done.n_samples)
        self._writer.add(
            "clips",
            self._identity(clip)
            | {
                "start_s": 0.0,
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
        if state.windows:
            self._write_windows(clip, arch, done.n_samples, state.windows)
        self.progress.clips += 1
        self.progress.windows += done.n_windows
        self.progress.audio_s += done.n_samples / SAMPLE_RATE_HZ

    def _write_windows(
        self, clip: int, arch: str, n_samples: int, windows: list[dict[str, Vectors]]
    ) -> None:
        spans = [self._rule.span(index, n_samples) for index in range(len(windows))]
        outputs = [self._outputs(vectors) for vectors in windows]
        self._writer.add_block(
            "windows",
            self._identity(clip) | {"arch": arch},
            {
                "window_index": range(len(windows)),
                "start_s": [start / SAMPLE_RATE_HZ for start, _ in spans],
                "end_s": [end / SAMPLE_RATE_HZ for _, end in spans],
            }
            | {name: [each[name] for each in outputs] for name in self._spec.outputs},
        )

    def _outputs(self, vectors: dict[str, Vectors]) -> dict[str, Any]:
        """The columns of a row that the spec asks for."""
        columns: dict[str, Any] = {n: v for n, v in vectors.items() if n in self._spec.outputs}
        if "labels" in self._spec.outputs:
            labels = self._model.top_labels(vectors["logits"][None], self._spec.top_k)[0]
            columns["labels"] = [dict(zip(LABEL_FIELDS, each, strict=True)) for each in labels]
        return columns

    def _fail(self, failed: ClipFailed) -> None:
        self._writer.drop(self._clips[failed.clip].clip_id)
        self._writer.add(
            "errors",
            self._identity(failed.clip)
            | {"stage": failed.stage, "class": failed.error_class, "message": failed.message},
        )
        self.progress.clips += 1
        self.progress.errors[failed.error_class] += 1
        self._on_progress(self.progress)

    def _identity(self, clip: int) -> dict[str, str]:
        ref = self._clips[clip]
        return {
            "clip_id": ref.clip_id,
            "uri": ref.uri,
            "member": ref.member,
            "source_version": ref.version,
        }

    def _check_complete(self) -> None:
        expected = ShardEnd(len(self._clips), self._windows_seen, self._timestamps_seen)
        if self._end != expected or self._open or self.progress.clips != len(self._clips):
            raise BrokenStreamError(
                f"the decode stream ended with {self._end}, but brought {expected}; "
                f"{len(self._open)} clips are unfinished, {self.progress.clips} have a row"
            )
