"""A decoder and a model that do nothing, to measure what is between them.

The decoder makes the events of clips out of nothing, as many and as large as real ones, and packs
them as the real one does. In a module without torch, like `jobs.worker.decode_task`.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ, Samples
from pipeline.decode.quality import SILENCE
from pipeline.embedding.model import CompletedOutputs, Vectors
from pipeline.io.storage import Storage
from pipeline.shards import Shard
from pipeline.stopwatch import Stopwatch
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone, ClipStart, Event
from pipeline.stream.packets import PACKET_BYTES, pack_events
from pipeline.stream.windows import WindowBlock

SAMPLES_COLUMN = "samples"
"""Carried column that tells how long a hollow clip is."""
_NOISE_SAMPLES = 16 * 10 * SAMPLE_RATE_HZ


class Call(NamedTuple):
    """One call of a hollow model.

    Attributes:
        began_s: when, in seconds since 1970.
        n_windows: in it.
        n_samples: of these.
        n_views: of the windows, those that lie in Ray's object store, where nobody may write, and
            were not copied out of it.
    """

    began_s: float
    n_windows: int
    n_samples: int
    n_views: int


class NullOutputs(NamedTuple):
    """What a hollow model says; see `pipeline.embedding.model.ModelOutputs`."""

    features: Vectors
    logits: Vectors


class NullModel:
    """A `Model` whose answers are the first samples of the windows, and zeros.

    Args:
        embedding_dim: width of the features.
        n_classes: width of the logits.
        window_s: seconds that it takes for each window; 0 to answer at once.
        calls: file that takes a line a call.
    """

    def __init__(self, embedding_dim: int, n_classes: int, window_s: float, calls: Path) -> None:
        self._widths = embedding_dim, n_classes
        self._window_s = window_s
        self._calls = calls

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """None: it computes nothing."""
        return None

    def embed(self, windows: Sequence[Samples]) -> NullOutputs:
        """Answer, and note the call."""
        began_s = time.time()
        features, logits = (np.zeros((len(windows), width), np.float32) for width in self._widths)
        features[:, 0] = [window[0] for window in windows]
        n_views = sum(not window.flags.writeable for window in windows)
        call = Call(began_s, len(windows), sum(map(len, windows)), n_views)
        with self._calls.open("a") as file:
            file.write(json.dumps(call) + "\n")
        if self._window_s:
            time.sleep(self._window_s * len(windows))
        return NullOutputs(features, logits)

    def begin(self, windows: Sequence[Samples]) -> CompletedOutputs:
        """As `embed`."""
        return CompletedOutputs(self.embed(windows))

    @property
    def warm_up(self) -> None:
        """There is nothing to do."""

    @property
    def batch_samples(self) -> int:
        """One: there are no batches."""
        return 1

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """Not asked for: the benches' tables have no labels."""
        raise NotImplementedError

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Not asked for: the benches' tables have no timestamps."""
        raise NotImplementedError


def read_calls(calls: Path) -> list[Call]:
    """The calls of a `NullModel`, in order."""
    return [Call(*json.loads(line)) for line in calls.read_text().splitlines()]


def synthetic_packets(
    shard: Shard,
    rule: DecodeRule,
    columns: tuple[str, ...],
    storage: Storage,
    poison: frozenset[int] = frozenset(),
    one_by_one: bool = False,
) -> Iterator[list[Event]]:
    """Packets of a shard, as `jobs.worker.decode_task.decode`, of clips that are not there.

    Args:
        shard: its clips carry their lengths in samples, each a window at the most.
        rule: of the table.
        columns: of the table, `SAMPLES_COLUMN`.
        storage: not used.
        poison: not used.
        one_by_one: each clip is told of before it is begun.
    """
    clips = (
        _clip_events(shard, clip, int(ref.carried[0] or 0)) for clip, ref in enumerate(shard.clips)
    )
    yield from pack_events(clips, 0 if one_by_one else PACKET_BYTES, Stopwatch())


def _clip_events(shard: Shard, clip: int, n_samples: int) -> Iterator[Event]:
    noise = _noise()
    # Each clip from a place of its own: the same array twice would be pickled once.
    begin = clip * 10_007 % (len(noise) - n_samples)
    pcm = noise[begin : begin + n_samples]
    yield ClipStart(clip, shard.clips[clip])
    yield WindowBlock(clip, 0, n_samples, (0,), pcm)
    yield ClipDone(clip, n_samples, 1, SAMPLE_RATE_HZ, 1, False, 0, SILENCE)


@lru_cache(maxsize=1)
def _noise() -> Samples:
    """More of it than the caches of most processors hold: 20 MB."""
    return np.random.default_rng(0).standard_normal(_NOISE_SAMPLES, np.float32)
