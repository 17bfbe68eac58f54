"""What of tars is no recording is told by `embed` and `plan`; a full TMPDIR ends a run with 3."""

import json
import subprocess

import pytest

from tests.jobs.planning import ARCH, HERE
from tests.pipeline.readers.tar.hostile_tars import (header, member, whole)
from tests.pipeline.sources.corpora import wav, write_tar
from tests.support import passtream

A = wav(32_000)


def test_a_run_tells_what_it_passes_over_and_which_tars_hold_no_clip(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    write_tar(source / "none.tar", {"a.wav.data": A, "b.wav.data": A, "c.\x1b[31mX": b""})
    write_tar(source / "some.tar", {"a.wav": A, "a.json": b"1", "a.npy": b"1"})
    done = passtream("embed", source, tmp_path / "table", *HERE)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "no clip in 1 container of this run" in said
    assert "passed over 5 members of tars that are no recordings: .data 2, " in said
    assert r".\x1b[31mx 1" in said
    assert "none.tar: holds no clip; passed over 3 members" in " ".join(done.stderr.split())
    planned = passtream("plan", source, *ARCH, "--json")
    assert json.loads(planned.stdout)["passed_over_members"][".data"] == 2
    shown = " ".join(passtream("plan", source, *ARCH).stdout.split())
    assert "members of tars that are no recordings: .data 2" in shown


def test_an_empty_tar_is_told(tmp_path):
    (tmp_path / "c.tar").write_bytes(whole(header("folder", 0, b"5")))
    done = passtream("embed", tmp_path / "c.tar", tmp_path / "table", *HERE)
    assert done.returncode == 0
    assert "no clip in 1 container of this run" in done.stdout
    assert "c.tar: holds no clip" in done.stderr


def test_a_full_tmpdir_ends_a_run_with_exit_code_3_and_a_line_that_names_it(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk]).returncode:
        pytest.skip("mounting a small disk takes root")
    source = tmp_path / "c.tar"
    large = wav(10_000_000)  # 40 MB, more than is held in memory
    source.write_bytes(whole(member("a.wav", A), member("b.wav", large), member("c.wav", A)))
    try:
        arguments = ("embed", source, tmp_path / "table", *HERE)
        done = passtream(*arguments, env={"TMPDIR": str(disk)}, anew=True)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 3, said
        assert f"no space left in {disk} (TMPDIR)" in said
        assert "Traceback" not in said
        assert not list((tmp_path / "table" / "errors").glob("*"))
        done = passtream(*arguments)
        assert done.returncode == 0
        assert "3 clips" in done.stdout
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
