"""The corpus of the fault suite, and the check that a disturbed run has lost nothing."""

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
    assert_verified,
    passtream,
    vectors,
    write_tones,
)

SHARD_CLIPS = 3
_COMMON_OPTIONS = (
    "--shard-clips",
    SHARD_CLIPS,
    "--tables",
    "clips,windows",
    "--max-error-ratio",
    1,
)
OPTIONS = (*FAST, *_COMMON_OPTIONS)
"""Options of runs that last long enough to be disturbed."""
QUICK_OPTIONS = (*QUICK, *_COMMON_OPTIONS)
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Corpus:
    """Recordings, of which one is broken, and their embeddings by an undisturbed run.

    Attributes:
        folder: Folder of the recordings.
        uris: Uris of all recordings.
        expected: Embeddings of the intact recordings, by uri.
    """

    folder: Path
    uris: frozenset[str]
    expected: dict[str, np.ndarray]

    @property
    def n_shards(self) -> int:
        return -(-len(self.uris) // SHARD_CLIPS)


def write_corpus(folder: Path, n_clips: int, options: tuple[str | int, ...] = OPTIONS) -> Corpus:
    """Write recordings of a few seconds and a broken one, and embed them without faults."""
    recordings, table = folder / "recordings", folder / "undisturbed"
    write_tones(recordings, [2.0 + 0.25 * (i % 12) for i in range(n_clips - 1)])
    (recordings / "broken.wav").write_bytes(b"no audio")
    done = passtream("embed", recordings, table, *options, "--in-process")
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == n_clips - 1
    return Corpus(recordings, frozenset(map(str, recordings.iterdir())), vectors(table))


def assert_nothing_lost(location: str | Path, corpus: Corpus, storage: Storage = DEFAULT_STORAGE):
    """Check that `verify` passes and that each recording has one row, in clips or in errors.

    Embeddings must be those of the undisturbed run. Returns the report of `verify`.
    """
    store = open_store(str(location), storage)
    table = Table.existing(store)
    report = verify_table(table)
    assert report.passed, report.problems
    clips = list(_read_rows(store, "clips", "uri", "embedding"))
    errors = list(_read_rows(store, "errors", "uri"))
    assert sorted(uri for uri, *_ in (*clips, *errors)) == sorted(corpus.uris)
    found = {uri: np.array(vector, np.float32) for uri, vector in clips}
    assert_same_vectors(found, corpus.expected, within=TOLERANCE)
    return report


def _read_rows(store: TableStore, folder: str, *columns: str) -> Iterator[tuple]:
    """Yield the rows of all Parquet files of a folder, committed or not."""
    for name in store.names(folder):
        with store.open(f"{folder}/{name}") as file:
            rows = pq.ParquetFile(file, pre_buffer=False).read(list(columns), use_threads=False)
        yield from zip(*(rows[column].to_pylist() for column in columns), strict=True)
