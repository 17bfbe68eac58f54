"""Embeds the recordings of three Debian packages: speech, chimes and noise in WAV and Vorbis."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support import QUICK, passtream

PACKAGES = ("asterisk-core-sounds-en-wav", "sound-theme-freedesktop", "alsa-utils")
ENDINGS = {".wav", ".oga"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def recordings() -> list[str]:
    listed = subprocess.run(["dpkg", "-L", *PACKAGES], capture_output=True, text=True)
    if listed.returncode:
        reason = f"needs the Debian packages: apt-get install {' '.join(PACKAGES)}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    paths = (Path(line) for line in listed.stdout.splitlines())
    return [str(path) for path in paths if path.suffix in ENDINGS and path.is_file()]


@pytest.mark.parametrize("max_files", [100, pytest.param(1_000, marks=pytest.mark.slow)])
def test_every_file_is_a_clip_or_an_error(max_files, recordings, tmp_path):
    table = tmp_path / "table"
    in_folder = Counter(str(Path(path).parent) for path in recordings)
    folders = sorted(folder for folder, n in in_folder.items() if n <= max_files)
    n_recordings = sum(in_folder[folder] for folder in folders)
    # The folders hold these recordings and nothing else, so the run lists whole folders.
    # Long recordings are most of the work. A hop of 10 s gives the fewest windows without gaps.
    options = (*QUICK, "--hop-s", 10, "--shard-clips", 64, "--tables", "clips,windows")
    done = passtream("embed", *folders, table, *options)
    assert done.returncode == 0, done.stderr
    sources = [part for folder in folders for part in ("--source", folder)]
    checked = passtream("verify", table, *sources, "--json")
    assert checked.returncode == 0, checked.stdout
    report = json.loads(checked.stdout)
    assert report["clips"] + sum(report["errors"].values()) == n_recordings
    # The only recordings that cannot be embedded are chimes shorter than one patch.
    assert set(report["errors"]) <= {"too_short"}
    assert report["clips"] > 0.95 * n_recordings
