"""Hostile and damaged files in a folder do not change the embeddings of the intact files in it."""

import shutil

import pytest
import soundfile

from pipeline.error_classes import ERROR_CLASSES
from tests.fuzz.seeds import make_seeds
from tests.hostile import write_hostile
from tests.pipeline.decode.damaged_audio import all_damaged
from tests.support import QUICK, assert_same_vectors, error_rows, passtream, tone, vectors

RATE_HZ = 16_000
OPTIONS = (*QUICK, "--max-error-ratio", "1", "--shard-clips", "16", "--decoder-memory", "1GiB")
NO_RECORDINGS = (
    *(".csv", ".json", ".jsonl", ".tsv", ".txt", ".parquet", ".tar", ".gz", ".zst"),
    *("script.m4a", "playlist.mp3"),
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Folder with intact files of every kind that passtream reads, and a table of it alone."""
    folder = tmp_path_factory.mktemp("corpus") / "intact"
    folder.mkdir()
    for name, content in make_seeds().items():
        if name not in NO_RECORDINGS and not name.endswith(NO_RECORDINGS):
            (folder / name).write_bytes(content)
    soundfile.write(folder / "long.wav", tone(23.0, RATE_HZ), RATE_HZ)
    table = folder.parent / "alone"
    done = passtream("embed", folder, table, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    return folder, table


@pytest.mark.parametrize("runner", ["--in-process", "--on-ray"])
def test_intact_files_among_hostile_and_damaged_files_are_embedded_as_if_alone(
    tmp_path, intact, runner
):
    folder, alone = intact
    secret = tmp_path / "private.wav"
    soundfile.write(secret, tone(1.0, RATE_HZ), RATE_HZ)
    corpus = tmp_path / "corpus"
    shutil.copytree(folder, corpus / "a-intact")
    hostile, damaged = corpus / "hostile", corpus / "damaged"
    hostile.mkdir()
    damaged.mkdir()
    classes = write_hostile(hostile, str(secret))
    files = [file for file in all_damaged() if file.span is None]
    for file in files:
        (damaged / file.name).write_bytes(file.content())
    shutil.copytree(folder, corpus / "z-intact")

    done = passtream("embed", corpus, tmp_path / "table", *OPTIONS, runner)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

    found = vectors(tmp_path / "table")
    for below in ("a-intact", "z-intact"):
        same = {
            uri.replace(f"/corpus/{below}/", "/"): vector
            for uri, vector in found.items()
            if f"/corpus/{below}/" in uri
        }
        assert_same_vectors(
            {uri.rpartition("/")[2]: vector for uri, vector in same.items()},
            {uri.rpartition("/")[2]: vector for uri, vector in vectors(alone).items()},
            within=1e-5,
        )
    errors = {
        uri.rpartition("/")[2]: kind for uri, (kind, _) in error_rows(tmp_path / "table").items()
    }
    assert {name: errors.get(name) for name in classes} == classes
    expected = {file.name: file.error for file in files if file.error}
    assert {name: errors.get(name) for name in expected} == expected
    assert set(errors) == set(classes) | set(expected)
    assert set(errors.values()) <= set(ERROR_CLASSES)

    verified = passtream("verify", tmp_path / "table", "--source", corpus)
    assert verified.returncode == 0, verified.stdout
