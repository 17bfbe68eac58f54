"""The model's side of a shard: events become embeddings, and embeddings become rows.

Windows of many clips wait in one pool until there is enough audio for well-filled batches. A clip's
row is the mean over its windows. It is written when the clip has ended and its last window is
embedded. Timestamps are embedded and written as they come, because a long clip has more than memory
holds. Those of a clip that turns out damaged are removed again, so that only its error is left.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.embedding.clip_rows import ClipRows
from pipeline.embedding.model import Model, Vectors
from pipeline.errors import BrokenStreamError
from pipeline.progress import Counts
from pipeline.samples import Samples
from pipeline.shards import Shard
from pipeline.stream.events import (
    ClipDone,
    ClipFailed,
    ClipLength,
    ClipStart,
    Event,
    ShardEnd,
    TimestampBlock,
)
from pipeline.stream.windows import WindowBlock
from pipeline.table.row_writer import RowWriter
from pipeline.table.spec import TableSpec

POOL_S = 160.0
"""Seconds of windows that wait for a batch; 20 MB."""


@dataclass
class _OpenClip:
    """A clip between its start and its row."""

    ref: ClipRef
    n_windows: int = 0
    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    windows: list[dict[str, Vectors]] = field(default_factory=list)
    n_timestamps: int = 0
    is_finite: bool = True
    done: ClipDone | None = None
    about_s: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether the clip has ended and all of its windows and timestamps are embedded."""
        return (
            self.done is not None
            and self.n_windows >= self.done.n_windows
            and self.n_timestamps >= self.done.n_timestamps
        )


class Assembler:
    """An assembler of the rows of one shard from its events.

    Args:
        shard: The shard.
        spec: Spec of the table.
        model: Model that embeds windows and timestamps.
        writer: Writer of the rows.
        on_progress: Called with the counts whenever they change.
    """

    def __init__(
        self,
        shard: Shard,
        spec: TableSpec,
        model: Model,
        writer: RowWriter,
        on_progress: Callable[[Counts], None] = lambda _: None,
    ) -> None:
        self.progress = Counts()
        self._shard = shard
        self._n_started = 0
        self._spec = spec
        self._model = model
        self._rows = ClipRows(spec, model, writer)
        self._on_progress = on_progress
        self._open: dict[int, _OpenClip] = {}
        self._pool: list[tuple[int, Samples]] = []
        self._pool_samples = 0
        self._windows_seen = 0
        self._timestamps_seen = 0
        self._end: ShardEnd | None = None

    def consume(self, packets: Iterable[list[Event]]) -> ShardEnd:
        """Consume all events of the shard and return the last one.

        Raises:
            BrokenStreamError: The stream did not account for every clip and window.
        """
        for packet in packets:
            for event in packet:
                self._take(event)
        self._embed_pool()
        self._report()
        return self._check_end()

    def _take(self, event: Event) -> None:
        match event:
            case ClipStart():
                self._start(event)
            case ClipLength():
                self._state(event.clip).about_s = event.n_samples / SAMPLE_RATE_HZ
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
                self._state(event.clip).done = event
                self._write_if_complete(event.clip)
            case ClipFailed():
                self._pool = [entry for entry in self._pool if entry[0] != event.clip]
                self._pool_samples = sum(len(window) for _, window in self._pool)
                self._fail(event)
            case ShardEnd():
                self._end = event

    def _start(self, event: ClipStart) -> None:
        listed = self._shard.clips
        expected = listed[event.clip] if event.clip < len(listed) else None
        if event.clip != self._n_started or (listed and event.ref != expected):
            raise BrokenStreamError(
                f"the decode stream brought clip {event.clip}, {event.ref.uri!r}, in place of "
                f"clip {self._n_started}"
            )
        self._n_started += 1
        self._open[event.clip] = _OpenClip(event.ref)

    def _state(self, clip: int) -> _OpenClip:
        if clip not in self._open:
            raise BrokenStreamError(f"the decode stream brought parts of clip {clip} out of place")
        return self._open[clip]

    def _embed_pool(self) -> None:
        if not self._pool:
            return
        outputs = self._model.embed([window for _, window in self._pool])
        named = {"embedding": outputs.features, "logits": outputs.logits}
        touched = dict.fromkeys(clip for clip, _ in self._pool)
        for row, (clip, _) in enumerate(self._pool):
            vectors = {name: named[name][row] for name in self._rows.vectors}
            state = self._state(clip)
            state.n_windows += 1
            for name, vector in vectors.items():
                total = state.sums.setdefault(name, np.zeros(len(vector)))
                total += vector
            if "windows" in self._spec.tables:
                state.windows.append(vectors)
        self._pool, self._pool_samples = [], 0
        for clip in touched:
            self._write_if_complete(clip)
        self._report()

    def _report(self) -> None:
        """Count the embedded parts of incomplete clips, and report the progress."""
        progress, hop_s = self.progress, self._spec.hop_s
        progress.open_clips = progress.open_audio_s = 0.0
        progress.open_windows = 0
        for state in self._open.values():
            if state.n_windows:
                embedded_s = state.n_windows * hop_s
                progress.open_windows += state.n_windows
                if state.about_s:
                    embedded_s = min(embedded_s, state.about_s)
                    progress.open_clips += embedded_s / state.about_s
                progress.open_audio_s += embedded_s
        self._on_progress(progress)

    def _embed_timestamps(self, block: TimestampBlock) -> None:
        self._timestamps_seen += block.n
        state = self._state(block.clip)
        state.n_timestamps += block.n
        if not state.is_finite:
            return
        embeddings = self._model.embed_timestamps(block.pcm, block.n)
        state.is_finite = bool(np.isfinite(embeddings).all())
        self._rows.write_timestamps(state.ref, block, embeddings)

    def _write_if_complete(self, clip: int) -> None:
        state = self._open[clip]
        done = state.done
        if not done or not state.is_complete:
            return
        means = {name: (s / done.n_windows).astype(np.float32) for name, s in state.sums.items()}
        if not state.is_finite or not all(np.isfinite(mean).all() for mean in means.values()):
            message = f"{state.ref.name}: the model's output is not finite"
            self._fail(ClipFailed(clip, "embed", "non_finite_output", message))
            return
        del self._open[clip]
        self._rows.write_clip(state.ref, done, means, state.windows)
        self.progress.clips += 1
        self.progress.windows += done.n_windows
        self.progress.audio_s += done.n_samples / SAMPLE_RATE_HZ

    def _fail(self, failed: ClipFailed) -> None:
        ref = self._state(failed.clip).ref
        del self._open[failed.clip]
        self._rows.write_error(ref, failed)
        self.progress.clips += 1
        self.progress.errors[failed.error_class] += 1
        self._on_progress(self.progress)

    def _check_end(self) -> ShardEnd:
        n_clips = self._n_started if self._shard.container else len(self._shard.clips)
        expected = ShardEnd(n_clips, self._windows_seen, self._timestamps_seen)
        if self._end != expected or self._open or self.progress.clips != n_clips:
            raise BrokenStreamError(
                f"the decode stream ended with {self._end}, but brought {expected}; "
                f"{len(self._open)} clips are unfinished, {self.progress.clips} have a row"
            )
        return self._end
