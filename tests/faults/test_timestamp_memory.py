"""Memory does not grow with the number of timestamps, as their rows are streamed to disk.

Ten hours of timestamps are 3.7 GB of rows. A fake model gives embeddings of the real width, as a
real model would take a night; decoding, windows, rows, files and `verify` are real.
"""

import multiprocessing
import resource
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline.clips import ClipRef
from pipeline.embedding.embed_shard import embed_shard
from pipeline.io.versions import file_version
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import plan_shards
from pipeline.readers.shard_reader import clip_recordings
from pipeline.stream.packets import shard_packets
from pipeline.table.spec import Route, TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

RATE_HZ = 8_000
HOURS = (1, 10)
WIDTH = 1295
MAX_GROWTH_BYTES = 100e6
SPEC = TableSpec(
    routes=(Route("statistics", 10.0, "random:0", "0" * 64, 320),),
    min_samples=4801,
    embedding_dim=4,
    n_classes=3,
    window_s=10.0,
    hop_s=60.0,
    tables=("clips", "timestamps"),
    timestamps="base",
    timestamp_dim=WIDTH,
    timestamp_window=5120,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Outputs:
    features: np.ndarray
    logits: np.ndarray


class WideModel:
    """A fake model with cheap outputs of the real shape."""

    fidelity = None

    def embed(self, windows):
        return Outputs(
            np.array([(w.mean(), w.std(), w.max(), w.min()) for w in windows], np.float32),
            np.array([w[:3] for w in windows], np.float32),
        )

    def top_labels(self, logits, k):
        raise NotImplementedError("this table has no labels")

    def embed_timestamps(self, stream, n):
        rng = np.random.default_rng(n)
        return rng.standard_normal((n, WIDTH), np.float32) + stream[0]


def _write_flac(path, hours):
    """Write a recording that repeats a minute of noise."""
    minute = np.random.default_rng(0).normal(0, 0.1, 60 * RATE_HZ).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(hours * 60):
            file.write(minute)


def _embed_and_verify(folder, hours, result):
    path = folder / f"{hours}.flac"
    _write_flac(path, hours)
    table = Table.open_or_create(LocalStore(folder / f"table-{hours}"), SPEC)
    clip = ClipRef(str(path), file_version(str(path)))
    (shard,) = plan_shards([clip], table.spec.digest, 1)
    record = embed_shard(
        shard, shard_packets(clip_recordings(shard.clips), SPEC.decode_rule), WideModel(), table
    )
    embedded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = verify_table(table)
    verified = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result.put((record.rows["timestamps"], report.problems, embedded, verified))


def test_memory_does_not_grow_with_the_timestamps(tmp_path):
    context = multiprocessing.get_context("spawn")
    peaks = []
    for hours in HOURS:
        result = context.Queue()
        process = context.Process(target=_embed_and_verify, args=(tmp_path, hours, result))
        process.start()
        n_rows, problems, *peak = result.get(timeout=800)
        process.join()
        # There is a timestamp every 50 ms, and one at the end.
        assert (n_rows, problems) == (hours * 3600 * 20 + 1, [])
        peaks.append(peak)
        files = list((tmp_path / f"table-{hours}" / "timestamps").glob("*.parquet"))
        assert sum(pq.read_metadata(file).num_rows for file in files) == n_rows
    print([f"{bytes_ / 1e6:.0f} MB" for peak in peaks for bytes_ in peak])
    for short, long in zip(*peaks, strict=True):
        assert long - short < MAX_GROWTH_BYTES
