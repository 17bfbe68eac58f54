"""Fixtures for the tests of `pipeline`: small tables, clips and a tiny model.

Most fixtures have the scope of a session, so that property tests can use them too. `new_table` and
`model` belong to one test.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from models.labels import Label, top_labels
from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef, path_to_uri
from pipeline.embedding.embed_shard import embed_shard
from pipeline.embedding.model import CompletedOutputs
from pipeline.io.versions import file_version
from pipeline.planning.plan import plan_shards
from pipeline.readers.shard_reader import clip_recording, clip_recordings
from pipeline.stream.clip_decoder import ClipReader, clip_reader, open_clips
from pipeline.stream.packets import clip_events, shard_packets
from pipeline.table.commit_record import CommitRecord
from pipeline.table.spec import Route, TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

REPOSITORY = Path(__file__).parents[2]

# On shared cores the duration of an example varies too much for a deadline.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


def single_clip_events(recording, clip, rule):
    """Return the events of a recording's only clip, which has index `clip` in its shard."""
    ((ref, open_clip),) = open_clips(recording)
    return clip_events(ref, open_clip, clip, rule)


@dataclass(frozen=True)
class Outputs:
    features: np.ndarray
    logits: np.ndarray


class StatisticsModel:
    """A deterministic model that computes statistics of each window.

    The features are mean, peak, standard deviation and length. The logits are the first sample, the
    last sample and the energy. A timestamp is the first sample, the last sample and the peak of its
    window. `calls` records the number of windows per call.
    """

    def __init__(self, fidelity=None, timestamp_hop: int = 160):
        self.calls: list[int] = []
        self.fidelity = fidelity
        self.timestamp_hop = timestamp_hop

    def embed(self, windows: Sequence[np.ndarray]) -> Outputs:
        self.calls.append(len(windows))
        features = [
            (window.mean(), np.abs(window).max(), window.std(), len(window)) for window in windows
        ]
        logits = [
            (window[0], window[-1], np.square(window, dtype=np.float64).sum()) for window in windows
        ]
        return Outputs(np.array(features, np.float32), np.array(logits, np.float32))

    warm_up = None
    batch_samples = 1

    def begin(self, windows: Sequence[np.ndarray]) -> CompletedOutputs:
        return CompletedOutputs(self.embed(windows))

    def top_labels(self, logits: np.ndarray, k: int) -> list[list[Label]]:
        return top_labels(logits, ("first", "last", "energy"), k)

    def embed_timestamps(self, stream: np.ndarray, n: int) -> np.ndarray:
        length = len(stream) - (n - 1) * self.timestamp_hop
        starts = range(0, n * self.timestamp_hop, self.timestamp_hop)
        windows = [stream[start : start + length] for start in starts]
        return np.array([(w[0], w[-1], np.abs(w).max()) for w in windows], np.float32)


@pytest.fixture
def model():
    return StatisticsModel()


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., TableSpec]:
    """Returns a spec with changes: windows of 10 ms (320 samples) every 5 ms, statistics model."""
    spec = TableSpec(
        routes=(Route("statistics", 0.01, "random:0", "0" * 64, 320),),
        min_samples=32,
        embedding_dim=4,
        n_classes=3,
        window_s=0.01,
        hop_s=0.005,
    )
    return lambda **changes: dataclasses.replace(spec, **changes)


@pytest.fixture(scope="session")
def timestamps() -> dict[str, object]:
    """Changes to the spec: a timestamp every 5 ms, from windows of 20 ms (640 samples)."""
    return {
        "tables": ("clips", "timestamps"),
        "timestamps": "base",
        "timestamp_dim": 3,
        "timestamp_window": 640,
        "timestamp_hop": 160,
    }


@pytest.fixture(scope="session")
def routed() -> dict[str, object]:
    """Changes to the spec: archs for clips up to 10 and 20 ms, and for windows of 30 ms."""
    routes = [Route(f"to_{ms}", ms / 1000, "random:0", f"{ms}" * 32, 320) for ms in (10, 20, 30)]
    return {"routes": tuple(routes), "long_clips": "route", "window_s": 0.03, "hop_s": 0.01}


@pytest.fixture
def new_table(tmp_path, make_spec) -> Callable[..., Table]:
    """Creates or opens the test's table, with changes to the spec."""
    return lambda **changes: Table.open_or_create(
        LocalStore(tmp_path / "table"), make_spec(**changes)
    )


@pytest.fixture(scope="session")
def listed() -> Callable[[Path], ClipRef]:
    """Returns the reference to a local file that a listing would return."""
    return lambda path: ClipRef(path_to_uri(str(path)), file_version(str(path)))


@pytest.fixture(scope="session")
def decoded(listed) -> Callable[[Path], tuple[np.ndarray, ClipReader]]:
    """Decodes a file and returns its samples, shape (n_samples,), and the reader."""

    def decode(path):
        reader = clip_reader(clip_recording(listed(path)))
        return np.concatenate(list(reader.pieces())), reader

    return decode


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Returns `n` samples of float32 noise that depends on `seed`."""
    return lambda n, seed=0: np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)


@pytest.fixture(scope="session")
def write_clip(noise, listed) -> Callable[..., ClipRef]:
    """Writes noise of `n` samples as a 32 kHz float WAV, which decodes bit-exactly."""

    def write(path: Path, n: int, seed: int = 0) -> ClipRef:
        soundfile.write(path, noise(n, seed), SAMPLE_RATE_HZ, subtype="FLOAT")
        return listed(path)

    return write


@pytest.fixture(scope="session")
def embed() -> Callable[..., list[CommitRecord]]:
    """Plans shards of clips, embeds and commits them, and returns the commit records."""

    def run(table: Table, clips: Sequence[ClipRef], model=None, shard_clips: int = 100):
        model = model or StatisticsModel()
        return [
            embed_shard(
                shard,
                shard_packets(clip_recordings(shard.clips), table.spec.decode_rule),
                model,
                table,
            )
            for shard in plan_shards(clips, table.spec.digest, shard_clips)
        ]

    return run


@pytest.fixture(scope="session")
def start_python() -> Callable[..., subprocess.Popen]:
    """Starts a Python script in its own process, with the packages of this repository."""

    def start(script: str, *arguments: object, before: Sequence[str] = ()) -> subprocess.Popen:
        return subprocess.Popen(
            [*before, sys.executable, "-c", script, *map(str, arguments)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start
