"""Clips that kill the process that decodes them are found, told and passed over."""

import os
import re

import pyarrow.parquet as pq
import pytest

from tests.support import FAST, passtream, verified, write_tones

pytestmark = pytest.mark.timeout(600)

DEADLY = b"deadly"
# Stands before the real package, as a decoder with a bug in it: some bytes are its death.
DECODER = f"""
import importlib.machinery, importlib.util, os, signal, sys

here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.machinery.PathFinder.find_spec(
    "soundfile", [p for p in sys.path if os.path.abspath(p) != here]
)
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
globals().update({{name: value for name, value in vars(real).items() if name[:2] != "__"}})


class SoundFile(real.SoundFile):
    def __init__(self, file, *args, **options):
        if isinstance(file, int) and {DEADLY!r} in os.pread(file, 1 << 20, 0):
            os.kill(os.getpid(), signal.SIGSEGV)
        super().__init__(file, *args, **options)
"""


@pytest.fixture
def deadly_decoder(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "soundfile.py").write_text(DECODER)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_two_deadly_clips_of_a_shard_are_two_errors(deadly_decoder, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    corpus.mkdir()
    write_tones(corpus, [1.0] * 8)
    for name in ("001.wav", "002.wav"):
        with (corpus / name).open("r+b") as file:
            file.seek(100)
            file.write(DEADLY)
    options = (*FAST, "--shard-clips", 4, "--max-error-ratio", 1)
    done = passtream("embed", corpus, table, *options, env=deadly_decoder)
    assert done.returncode == 0, done.stderr
    errors = pq.read_table(table / "errors").to_pylist()
    assert [(os.path.basename(e["uri"]), e["stage"], e["class"]) for e in errors] == [
        ("001.wav", "decode", "poison"),
        ("002.wav", "decode", "poison"),
    ]
    assert all("the process that decodes it dies" in error["message"] for error in errors)
    assert re.search(r"try 2 failed, .*died at clip 1 of the shard", done.stderr), done.stderr
    report = verified(table)
    assert (report.clips, report.shards) == (6, 2)
