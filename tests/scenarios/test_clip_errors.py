"""Tests of folders with faulty recordings: each file becomes a clip or an error row."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.support import (
    QUICK,
    assert_verified,
    error_rows,
    passtream,
    tone,
    unprivileged_prefix,
    vectors,
)

# 15 hops of 320 samples and one sample are 16 frames, which make one patch.
ONE_PATCH = 4801
NAMES = ("two words.wav", 'it\'s "quoted".wav', "line\nbreak.wav", "Vögel, 鳥.wav", "100%.wav")


def _write(path, samples, rate_hz=32_000, subtype="PCM_16", **kwargs):
    soundfile.write(path, samples, rate_hz, subtype=subtype, **kwargs)


def _write_bad(folder):
    """Write files that cannot be embedded; return error class and a part of the message by path."""
    folder.mkdir()
    bad = {}

    def expect(name, error_class, part):
        bad[str(folder / name)] = (error_class, part)
        return folder / name

    expect("empty.wav", "empty", "0 bytes").touch()
    expect("text.wav", "undecodable", "Format not recognised").write_text("not a recording\n" * 99)
    for name in ("cut.flac", "cut.wav"):
        path = expect(name, "truncated", "header promises")
        _write(path, tone(4, 32_000))
        os.truncate(path, path.stat().st_size // 2)
    non_finite = tone(1, 32_000)
    non_finite[700], non_finite[9000] = np.nan, np.inf
    _write(expect("nan.wav", "non_finite", "sample 700"), non_finite, subtype="FLOAT")
    _write(expect("forbidden.wav", "forbidden", "no permission"), tone(1, 32_000))
    (folder / "forbidden.wav").chmod(0)
    expect("dangling.wav", "missing", "not there").symlink_to("nowhere.wav")
    _write(expect("short.wav", "too_short", f"at least {ONE_PATCH}"), tone(1, 32_000)[:4800])
    return bad


def _write_good(folder):
    """Write files that can be embedded; return their names by path."""
    folder.mkdir()
    good = {}

    def add(name):
        good[str(folder / name)] = name
        return folder / name

    _write(add("8k-8bit.wav"), tone(1, 8_000), 8_000, "PCM_U8")
    _write(add("96k-24bit.wav"), tone(1, 96_000), 96_000, "PCM_24")
    surround = np.stack([tone(1, 48_000, seed) for seed in range(6)], axis=1)
    _write(add("5.1.wav"), surround, 48_000)
    _write(add("0.16s.wav"), tone(0.16, 32_000))
    _write(add("one-patch.wav"), tone(1, 32_000)[:ONE_PATCH])
    _write(add("silence.wav"), np.zeros(32_000, np.float32))
    for seed, name in enumerate(NAMES):
        _write(add(name), tone(0.5, 32_000, seed), format="WAV")
    _write(add("twin.wav"), tone(0.7, 32_000))
    _write(add("other twin.wav"), tone(0.7, 32_000))
    inner = folder / "folder.wav"
    inner.mkdir()
    _write(add("folder.wav/inside.wav"), tone(0.6, 32_000, seed=9))
    (inner / "loop").symlink_to(folder, target_is_directory=True)
    return good


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    return root, _write_bad(root / "bad"), _write_good(root / "good")


@pytest.mark.parametrize(
    "runner", [pytest.param("--on-ray", marks=pytest.mark.slow), "--in-process"]
)
def test_each_file_is_a_clip_or_an_error(runner, corpus, tmp_path):
    root, bad, good = corpus
    table = tmp_path / "table"
    done = passtream("embed", root, table, *QUICK, runner, prefix=unprivileged_prefix())
    # 8 of 22 files are bad, more than --max-error-ratio permits.
    assert done.returncode == 4, done.stderr
    report = assert_verified(table)
    assert (report.clips, report.errors.total()) == (len(good), len(bad))
    errors = error_rows(table)
    assert errors.keys() == bad.keys()
    for uri, (error_class, part) in bad.items():
        assert errors[uri][0] == error_class
        assert part in errors[uri][1]
        assert uri in errors[uri][1]
    embedded = vectors(table)
    assert embedded.keys() == good.keys()
    twin, other = (str(root / "good" / name) for name in ("twin.wav", "other twin.wav"))
    np.testing.assert_array_equal(embedded[twin], embedded[other])
    assert report.duplicate_vectors == 1
    assert "undecodable 1" in done.stdout


def test_pad_short_embeds_a_clip_that_is_too_short(corpus, tmp_path):
    root, _, _ = corpus
    source, table = root / "bad" / "short.wav", tmp_path / "table"
    done = passtream("embed", source, table, *QUICK, "--in-process", "--pad-short")
    assert done.returncode == 0, done.stderr
    assert vectors(table).keys() == {str(source)}
    assert_verified(table)


def test_file_name_that_is_not_utf_8_becomes_a_quoted_uri(tmp_path):
    folder, table = tmp_path / "corpus", tmp_path / "table"
    folder.mkdir()
    _write(folder / "plain.wav", tone(0.5, 32_000))
    os.rename(folder / "plain.wav", os.fsencode(folder) + b"/\xff\xfe.wav")
    done = passtream("embed", folder, table, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    assert vectors(table).keys() == {f"file://{folder}/%FF%FE.wav"}


def test_decode_workers_do_not_import_torch():
    """There are many decode workers, and the import takes seconds and hundreds of megabytes."""
    code = "import sys, jobs.worker.decode_task; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
