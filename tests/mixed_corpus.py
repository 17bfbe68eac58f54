"""A corpus of many codecs, sample rates and lengths, with some damaged files."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import tone

# Name, sample rate in Hz, channels, duration in s, and subtype for libsndfile.
BY_LIBSNDFILE = [
    ("u8.wav", 8_000, 1, 0.2, "PCM_U8"),
    ("s16.wav", 44_100, 2, 3.7, "PCM_16"),
    ("s16-long.wav", 16_000, 1, 45.0, "PCM_16"),
    ("s24.wav", 48_000, 2, 10.0, "PCM_24"),
    ("s24-more.wav", 48_000, 1, 10.001, "PCM_24"),
    ("float.wav", 32_000, 1, 12.3, "FLOAT"),
    ("float-96.wav", 96_000, 2, 0.777, "FLOAT"),
    ("law.wav", 8_000, 1, 21.3, "ULAW"),
    ("a.flac", 22_050, 1, 30.0, "PCM_16"),
    ("b.flac", 44_100, 2, 7.77, "PCM_24"),
    ("a.aiff", 11_025, 1, 1.234, "PCM_16"),
    ("a.ogg", 44_100, 2, 5.55, "VORBIS"),
    ("b.ogg", 16_000, 1, 7.1, "VORBIS"),
]
# Name, sample rate in Hz, channels, duration in s, and options for ffmpeg.
BY_FFMPEG = [
    ("8.mp3", 8_000, 1, 2.2, ("-c:a", "libmp3lame", "-b:a", "16k")),
    ("16.mp3", 16_000, 1, 11.1, ("-c:a", "libmp3lame", "-q:a", "4")),
    ("22.mp3", 22_050, 2, 0.3, ("-c:a", "libmp3lame", "-b:a", "64k")),
    ("44.mp3", 44_100, 2, 15.5, ("-c:a", "libmp3lame", "-b:a", "128k")),
    ("48.mp3", 48_000, 2, 9.9, ("-c:a", "libmp3lame", "-q:a", "2")),
    ("a.opus", 48_000, 2, 6.6, ("-c:a", "libopus", "-b:a", "64k")),
    ("b.opus", 16_000, 1, 12.2, ("-c:a", "libopus", "-b:a", "24k")),
    ("a.m4a", 44_100, 2, 4.4, ("-c:a", "aac", "-b:a", "96k")),
    ("b.m4a", 16_000, 1, 14.0, ("-c:a", "aac", "-b:a", "48k")),
]
ERRORS = {
    "cut.mp3": "truncated",
    "cut.wav": "truncated",
    "empty.flac": "empty",
    "no-frames.wav": "empty",
    "noise.mp3": "undecodable",
    "short.wav": "too_short",
    "torn.wav": "undecodable",
}
N_SOUND = len(BY_LIBSNDFILE) + len(BY_FFMPEG)


def _make_samples(rate_hz: int, channels: int, duration_s: float, seed: int) -> np.ndarray:
    parts = [tone(duration_s, rate_hz, seed + 100 * channel) for channel in range(channels)]
    return np.stack(parts, axis=1)


def encode(source: Path, path: Path, *options: str) -> Path:
    """Encode a recording with ffmpeg."""
    if not shutil.which("ffmpeg"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("apt-get install ffmpeg")
    command = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, path]
    subprocess.run(command, check=True)
    return path


def write_mixed(folder: Path) -> Path:
    """Write the corpus into a new folder."""
    (folder / "damaged").mkdir(parents=True)
    for seed, (name, rate_hz, channels, duration_s, subtype) in enumerate(BY_LIBSNDFILE):
        samples = _make_samples(rate_hz, channels, duration_s, seed)
        soundfile.write(folder / name, samples, rate_hz, subtype=subtype)
    wav = folder / "source.wav"
    for seed, (name, rate_hz, channels, duration_s, options) in enumerate(BY_FFMPEG):
        soundfile.write(wav, _make_samples(rate_hz, channels, duration_s, 50 + seed), rate_hz)
        encode(wav, folder / name, *options)
    wav.unlink()
    damaged = folder / "damaged"
    for name, source in (("cut.mp3", "44.mp3"), ("cut.wav", "s16.wav")):
        content = (folder / source).read_bytes()
        (damaged / name).write_bytes(content[: len(content) // 2])
    (damaged / "empty.flac").touch()
    (damaged / "noise.mp3").write_bytes(np.random.default_rng(7).bytes(5000))
    (damaged / "torn.wav").write_bytes(b"RIFF")
    soundfile.write(damaged / "no-frames.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(damaged / "short.wav", tone(0.1, 16_000), 16_000)
    return folder
