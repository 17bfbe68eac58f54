"""Tests that messages of decoder libraries stay out of a command's output."""

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.support import QUICK, ROOT, passtream, tone


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with an intact recording and two damaged recordings that cause library messages.

    libmpg123 writes to standard error about noise in the frames of an MP3. libsndfile writes to
    standard output about wrong packet sizes in a CAF.
    """
    folder = tmp_path_factory.mktemp("corpus")
    soundfile.write(folder / "good.wav", tone(0.5, 32_000), 32_000)
    file = io.BytesIO()
    soundfile.write(file, tone(4.0, 32_000), 32_000, format="MP3")
    damaged = np.frombuffer(file.getvalue(), np.uint8).copy()
    indices = np.random.default_rng(0).integers(2_000, len(damaged), 400)
    damaged[indices] = np.random.default_rng(1).integers(0, 255, 400)
    (folder / "damaged.mp3").write_bytes(damaged.tobytes())
    file = io.BytesIO()
    soundfile.write(file, tone(0.6, 16_000), 16_000, "ALAC_16", format="CAF")
    content = bytearray(file.getvalue())
    sizes_end = content.index(b"pakt") + 44
    content[sizes_end - 2 : sizes_end] = b"\x7f\x80"
    (folder / "damaged.caf").write_bytes(content)
    return folder


@pytest.mark.parametrize(("name", "stream", "message"), [
    ("damaged.mp3", "stderr", "libmpg123|Note: "), ("damaged.caf", "stdout", "Ooops")
])  # fmt: skip
def test_libraries_write_messages_about_damaged_files(corpus, name, stream, message):
    code = """
import soundfile, sys
try:
    soundfile.read(sys.argv[1])
except soundfile.LibsndfileError:
    pass
"""
    command = [sys.executable, "-c", code, corpus / name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert re.search(message, getattr(done, stream))


@pytest.mark.parametrize("where", ["--in-process", "--on-ray"])
def test_run_hides_messages_of_decoders(where, corpus, tmp_path):
    options = (*QUICK, where, "--max-error-ratio", 1)
    done = passtream("embed", corpus, tmp_path / "table", *options)
    assert done.returncode == 0, done.stderr
    assert "libmpg123" not in done.stderr
    assert "Note: " not in done.stderr
    assert "Ooops" not in done.stdout + done.stderr
    assert "embedding the first clips" in done.stderr


def test_plan_hides_messages_of_decoders(corpus):
    done = passtream("plan", corpus, "--arch", QUICK[1], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)


def test_other_output_is_forwarded():
    script = """
import os, sys
from jobs.runtime.decoder_messages import hide_decoder_messages
from jobs.cli.options import console
out = console(sys.stderr)
with hide_decoder_messages(out):
    os.write(2, b"Note: Trying to resync...\\n[src/libmpg123/a.c:f():1] error: bad\\n")
    os.write(2, b"malloc failed\\n")
    os.write(1, b"read_packets 12 : Ooops\\n")
    print("a line of Python's on standard output")
    out.print("a line of ours")
    print("a line of Python", file=sys.stderr)
os.write(2, b"Note: after the block\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert (done.returncode, done.stdout) == (0, "a line of Python's on standard output\n")
    assert sorted(done.stderr.splitlines()) == [
        "Note: after the block",
        "a line of Python",
        "a line of ours",
        "malloc failed",
    ]
