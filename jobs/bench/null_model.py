"""A decoder and a model that compute nothing, to measure the overhead between them.

The decoder generates events of clips that do not exist, as many and as large as those of real
clips, and packs them in the same way. Like `jobs.worker.decode_task`, this module does not import
torch.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.decode.quality import SILENCE
from pipeline.embedding.model import CompletedOutputs, Vectors
from pipeline.io.storage import Storage
from pipeline.samples import Samples
from pipeline.shards import Shard
from pipeline.stopwatch import Stopwatch
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone, ClipStart, Event
from pipeline.stream.packets import PACKET_BYTES, pack_events
from pipeline.stream.windows import WindowBlock

SAMPLES_COLUMN = "samples"
"""Carried column that holds the length of a synthetic clip, in samples."""
_NOISE_SAMPLES = 16 * 10 * SAMPLE_RATE_HZ


class Call(NamedTuple):
    """A call of a `NullModel`.

    Attributes:
        began_s: Time at which the call began, in seconds since 1970.
        n_windows: Number of windows in the call.
        n_samples: Total number of samples of the windows.
        n_views: Number of windows that are read-only views of Ray's object store, not copies.
    """

    began_s: float
    n_windows: int
    n_samples: int
    n_views: int


class NullOutputs(NamedTuple):
    """Outputs of a `NullModel`; see `pipeline.embedding.model.ModelOutputs`."""

    features: Vectors
    logits: Vectors


class NullModel:
    """A `Model` whose features are the first sample of each window, followed by zeros.

    Args:
        embedding_dim: Width of the features.
        n_classes: Width of the logits.
        window_s: Time that a call takes per window, in seconds; 0 to return at once.
        calls: File to which a line is written per call.
    """

    def __init__(self, embedding_dim: int, n_classes: int, window_s: float, calls: Path) -> None:
        self._widths = embedding_dim, n_classes
        self._window_s = window_s
        self._calls = calls

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """None, as this model has no precision to compare with fp32."""
        return None

    def embed(self, windows: Sequence[Samples]) -> NullOutputs:
        """Return outputs, and record the call in the file."""
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
        """Return the outputs of `embed`, already completed."""
        return CompletedOutputs(self.embed(windows))

    @property
    def warm_up(self) -> None:
        """None, as this model needs no warm-up."""

    @property
    def batch_samples(self) -> int:
        """Number of samples of a full batch: 1, as this model does not batch."""
        return 1

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """Raise an error: the tables of benchmarks have no labels."""
        raise NotImplementedError

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Raise an error: the tables of benchmarks have no timestamps."""
        raise NotImplementedError


def read_calls(calls: Path) -> list[Call]:
    """Read the recorded calls of a `NullModel`, in order."""
    return [Call(*json.loads(line)) for line in calls.read_text().splitlines()]


def synthetic_packets(
    shard: Shard,
    rule: DecodeRule,
    columns: tuple[str, ...],
    storage: Storage,
    poison: frozenset[int] = frozenset(),
    one_by_one: bool = False,
) -> Iterator[list[Event]]:
    """Yield packets of synthetic clips, with the signature of `jobs.worker.decode_task.decode`.

    Args:
        shard: Shard whose clips carry their lengths in samples, up to one window each.
        rule: Decode rule of the table; not used.
        columns: Carried columns of the table, only `SAMPLES_COLUMN`; not used.
        storage: Not used.
        poison: Not used.
        one_by_one: Yield a packet per event instead of full packets.
    """
    clips = (
        _clip_events(shard, clip, int(ref.carried[0] or 0)) for clip, ref in enumerate(shard.clips)
    )
    yield from pack_events(clips, 0 if one_by_one else PACKET_BYTES, Stopwatch())


def _clip_events(shard: Shard, clip: int, n_samples: int) -> Iterator[Event]:
    noise = _noise()
    # Clips start at different positions, because pickle would store the same array only once.
    begin = clip * 10_007 % (len(noise) - n_samples)
    pcm = noise[begin : begin + n_samples]
    yield ClipStart(clip, shard.clips[clip])
    yield WindowBlock(clip, 0, n_samples, (0,), pcm)
    yield ClipDone(clip, n_samples, 1, SAMPLE_RATE_HZ, 1, False, 0, SILENCE)


@lru_cache(maxsize=1)
def _noise() -> Samples:
    """Return 20 MB of noise, more than the caches of most processors hold."""
    return np.random.default_rng(0).standard_normal(_NOISE_SAMPLES, np.float32)
