"""The corpus that the fault suite is played on."""

import pytest

from tests.faults.aftermath import OPTIONS, Corpus
from tests.support import passtream, vectors, verified, write_tones

N_TONES, N_BROKEN = 26, 1


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """27 recordings of a few seconds, one of them broken: nine shards."""
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [2.0 + 0.25 * (i % 12) for i in range(N_TONES)])
    (folder / "broken.wav").write_bytes(b"no audio")
    table = tmp_path_factory.mktemp("calm") / "table"
    done = passtream("embed", folder, table, *OPTIONS, "--in-process")
    assert done.returncode == 0, done.stderr
    assert verified(table).clips == N_TONES
    return Corpus(folder, frozenset(map(str, folder.iterdir())), vectors(table))
