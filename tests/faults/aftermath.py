"""How every case of the fault suite ends: nothing lost or twice, the vectors of a calm run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.maintenance.verify import verify_table
from pipeline.table.store.base import TableStore
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from tests.support import (
    FAST,
    QUICK,
    assert_same_vectors,
    passtream,
    vectors,
    assert_verified,
    write_tones,
)

SHARD_CLIPS = 3
_REST = ("--shard-clips", SHARD_CLIPS, "--tables", "clips,windows", "--max-error-ratio", 1)
OPTIONS = (*FAST, *_REST)
"""For runs that last long enough to be disturbed at some moment."""
QUICK_OPTIONS = (*QUICK, *_REST)
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Corpus:
    """Recordings, some of them broken, and what a run that nothing disturbs makes of them.

    Attributes:
        folder: of the recordings.
        uris: of all of them.
        calm: embeddings by uri, of those that can be embedded.
    """

    folder: Path
    uris: frozenset[str]
    calm: dict[str, np.ndarray]

    @property
    def n_shards(self) -> int:
        return -(-len(self.uris) // SHARD_CLIPS)


def write_corpus(folder: Path, n_clips: int, options: tuple[str | int, ...] = OPTIONS) -> Corpus:
    """Write recordings of a few seconds, the last of them broken, and embed them undisturbed."""
    recordings, table = folder / "recordings", folder / "calm"
    write_tones(recordings, [2.0 + 0.25 * (i % 12) for i in range(n_clips - 1)])
    (recordings / "broken.wav").write_bytes(b"no audio")
    done = passtream("embed", recordings, table, *options, "--in-process")
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == n_clips - 1
    return Corpus(recordings, frozenset(map(str, recordings.iterdir())), vectors(table))


def assert_nothing_lost(location: str | Path, corpus: Corpus, storage: Storage = DEFAULT_STORAGE):
    """Each recording is once in clips or errors, with the right vector, and `verify` passes."""
    store = open_store(str(location), storage)
    table = Table.existing(store)
    report = verify_table(table)
    assert report.passed, report.problems
    clips = list(_rows(store, "clips", "uri", "embedding"))
    errors = list(_rows(store, "errors", "uri"))
    assert sorted(uri for uri, *_ in (*clips, *errors)) == sorted(corpus.uris)
    found = {uri: np.array(vector, np.float32) for uri, vector in clips}
    assert_same_vectors(found, corpus.calm, within=TOLERANCE)
    return report


def _rows(store: TableStore, folder: str, *columns: str) -> Iterator[tuple]:
    """As any reader of the folder's Parquet files finds them, committed or not."""
    for name in store.names(folder):
        with store.open(f"{folder}/{name}") as file:
            rows = pq.ParquetFile(file, pre_buffer=False).read(list(columns), use_threads=False)
        yield from zip(*(rows[column].to_pylist() for column in columns), strict=True)
