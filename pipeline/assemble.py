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
from pipeline.packets import ClipDone, ClipFailed, ClipStart, Event, ShardEnd, TimestampBlock
from pipeline.plan import Shard
from pipeline.progress import Progress
from pipeline.rows import RowWriter
from pipeline.schema import LABEL_FIELDS
from pipeline.sound import Samples
from pipeline.spec import TableSpec
from pipeline.windows import WindowBlock

POOL_S = 160.0
"""Seconds of windows that wait for a batch: 20 MB."""


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
        shard: what is embedded.
        spec: of the table.
        model: embeds windows and timestamps.
        writer: takes the rows.
        on_progress: told of the counts whenever they change.
    """

    def __init__(
        self,
        shard: Shard,
        spec: TableSpec,
        model: Model,
        writer: RowWriter,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.progress = Progress()
        self._shard = shard
        self._n_started = 0
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
            case ClipStart():
                self._start(event)
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
            vectors = {name: named[name][row] for name in self._vectors}
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
        self._on_progress(self.progress)

    def _embed_timestamps(self, block: TimestampBlock) -> None:
        self._timestamps_seen += block.n
        state = self._state(block.clip)
        state.n_timestamps += block.n
        if not state.is_finite:
            return
        embeddings = self._model.embed_timestamps(block.pcm, block.n)
        state.is_finite = bool(np.isfinite(embeddings).all())
        index = np.arange(block.first_index, block.first_index + block.n)
        self._writer.add_block(
            "timestamps",
            _identity(state.ref) | {"arch": self._spec.routes[0].arch},
            {
                "timestamp_index": index,
                "timestamp_ms": self._spec.timestamp_ms(index),
                "embedding": embeddings,
            },
        )

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
        arch = self._spec.arch_for(done.n_samples)
        self._writer.add(
            "clips",
            _identity(state.ref)
            | _place(state.ref, self._spec.columns)
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
        if state.windows:
            self._write_windows(state, arch, done.n_samples)
        self.progress.clips += 1
        self.progress.windows += done.n_windows
        self.progress.audio_s += done.n_samples / SAMPLE_RATE_HZ

    def _write_windows(self, state: _OpenClip, arch: str, n_samples: int) -> None:
        spans = [self._rule.span(index, n_samples) for index in range(len(state.windows))]
        outputs = [self._outputs(vectors) for vectors in state.windows]
        self._writer.add_block(
            "windows",
            _identity(state.ref) | {"arch": arch},
            {
                "window_index": range(len(outputs)),
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
        ref = self._state(failed.clip).ref
        del self._open[failed.clip]
        self._writer.drop(ref.clip_id)
        self._writer.add(
            "errors",
            _identity(ref)
            | {"stage": failed.stage, "class": failed.error_class, "message": failed.message},
        )
        self.progress.clips += 1
        self.progress.errors[failed.error_class] += 1
        self._on_progress(self.progress)

    def _check_complete(self) -> None:
        n_clips = self._n_started if self._shard.container else len(self._shard.clips)
        expected = ShardEnd(n_clips, self._windows_seen, self._timestamps_seen)
        if self._end != expected or self._open or self.progress.clips != n_clips:
            raise BrokenStreamError(
                f"the decode stream ended with {self._end}, but brought {expected}; "
                f"{len(self._open)} clips are unfinished, {self.progress.clips} have a row"
            )


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
