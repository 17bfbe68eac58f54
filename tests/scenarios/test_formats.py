"""Tests of the usual codecs: an encoded recording gets nearly the same embedding as its WAV."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.support import QUICK, assert_verified, error_rows, passtream, vectors

# Recordings of Debian packages: single words at 48 kHz, sentences at 8 kHz. ffmpeg encodes them.
WORDS = Path("/usr/share/sounds/alsa")
SENTENCES = Path("/usr/share/asterisk/sounds/en_US_f_Allison/vm-forwardoptions.wav")
NAMES = ("words", "sentences")
CODECS = {
    ".ogg": ("-c:a", "libvorbis", "-q:a", "6"),
    ".opus": ("-c:a", "libopus", "-b:a", "96k"),
    ".webm": ("-c:a", "libopus", "-b:a", "96k"),
    ".mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
    ".plain.mp3": ("-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"),
    ".vbr.mp3": ("-c:a", "libmp3lame", "-q:a", "2", "-write_xing", "0", "-id3v2_version", "0"),
    ".m4a": ("-c:a", "aac", "-b:a", "128k"),
    ".flac": ("-c:a", "flac"),
    ".oga": ("-c:a", "flac"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two recordings of 6 s, one of words and one of sentences, in every codec."""
    if not (WORDS.is_dir() and SENTENCES.is_file() and shutil.which("ffmpeg")):
        packages = "alsa-utils asterisk-core-sounds-en-wav ffmpeg"
        reason = f"needs the Debian packages: apt-get install {packages}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("formats")
    words = [soundfile.read(path)[0] for path in sorted(WORDS.glob("*_*.wav"))[:4]]
    soundfile.write(folder / "words.wav", np.concatenate(words), 48_000)
    shutil.copy(SENTENCES, folder / "sentences.wav")
    for name in NAMES:
        source = folder / f"{name}.wav"
        for ending, options in CODECS.items():
            command = ["ffmpeg", "-v", "error", "-i", source, *options, folder / f"{name}{ending}"]
            subprocess.run(command, check=True)
    return folder


def cosine_distance(one, other):
    one, other = one.astype(np.float64), other.astype(np.float64)
    return 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_every_codec_embeds_as_its_wav(folder, tmp_path):
    table = tmp_path / "table"
    done = passtream("embed", folder, table, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    assert not assert_verified(table).errors
    embedded = vectors(table)
    assert len(embedded) == len(NAMES) * (1 + len(CODECS))
    for name in NAMES:
        expected = embedded[str(folder / f"{name}.wav")]
        for ending in CODECS:
            distance = cosine_distance(embedded[str(folder / f"{name}{ending}")], expected)
            assert distance < 1e-3, (name, ending)
    # The two recordings differ more than the codecs of a recording do.
    one, other = (embedded[str(folder / f"{name}.wav")] for name in NAMES)
    assert cosine_distance(one, other) > 1e-3
    rows = pq.read_table(table / "clips").to_pylist()
    assert not any(row["decoded_short"] for row in rows)
    for row in rows:
        is_opus = Path(row["uri"]).suffix in (".opus", ".webm")
        assert row["sample_rate_hz"] == (48_000 if is_opus or "words" in row["uri"] else 8_000)
        assert -60 < row["rms_dbfs"] < row["peak_dbfs"] < 1


def test_options_set_the_limits_of_clips(folder, tmp_path):
    front, left = WORDS / "Front_Center.wav", WORDS / "Rear_Left.wav"
    # 1.43 s in 137,134 bytes; 6 s in fewer bytes; 1.31 s in 126,064 bytes; nine tenths of that.
    cut, table = tmp_path / "cut.wav", tmp_path / "table"
    cut.write_bytes(left.read_bytes()[:113_000])
    sources = [front, folder / "words.opus", left, cut]
    options = ("--max-clip-s", 1.4, "--max-clip-bytes", 130_000, "--short-tolerance", 0.2)
    done = passtream("embed", *sources, table, *QUICK, "--in-process", *options)
    assert done.returncode == 4, done.stderr  # half of the clips are errors
    assert_verified(table)
    errors = error_rows(table)
    assert {uri: error for uri, (error, _) in errors.items()} == {
        str(sources[0]): "too_large",
        str(sources[1]): "too_long",
    }
    rows = pq.read_table(table / "clips").to_pylist()
    assert {row["uri"]: row["decoded_short"] for row in rows} == {
        str(sources[2]): False,
        str(cut): True,
    }
    other = passtream("embed", *sources, table, *QUICK, "--in-process")
    assert other.returncode == 2
    for option in ("max_clip_s", "max_clip_bytes", "short_tolerance"):
        assert option in other.stderr
