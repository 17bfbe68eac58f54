"""`embed` and `plan` report skipped members of tars; a full TMPDIR ends a run with exit code 3."""

import json
import subprocess

import pytest

from tests.jobs.planning import ARCH, EMBED_OPTIONS
from tests.pipeline.readers.tar.hostile_tars import header, member, whole
from tests.pipeline.sources.corpora import wav, write_tar
from tests.support import passtream

A = wav(32_000)


def test_run_and_plan_report_skipped_members_and_tars_without_clips(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    write_tar(source / "none.tar", {"a.wav.data": A, "b.wav.data": A, "c.\x1b[31mX": b""})
    write_tar(source / "some.tar", {"a.wav": A, "a.json": b"1", "a.npy": b"1"})
    done = passtream("embed", source, tmp_path / "table", *EMBED_OPTIONS)
    assert done.returncode == 0, done.stderr
    output = " ".join(done.stdout.split())
    assert "no clip in 1 container of this run" in output
    assert "passed over 5 members of tars that are no recordings: .data 2, " in output
    assert r".\x1b[31mx 1" in output
    assert "none.tar: holds no clip; passed over 3 members" in " ".join(done.stderr.split())
    planned = passtream("plan", source, *ARCH, "--json")
    assert json.loads(planned.stdout)["passed_over_members"][".data"] == 2
    plan_text = " ".join(passtream("plan", source, *ARCH).stdout.split())
    assert "members of tars that are no recordings: .data 2" in plan_text


def test_a_tar_without_clips_is_reported(tmp_path):
    (tmp_path / "c.tar").write_bytes(whole(header("folder", 0, b"5")))
    done = passtream("embed", tmp_path / "c.tar", tmp_path / "table", *EMBED_OPTIONS)
    assert done.returncode == 0
    assert "no clip in 1 container of this run" in done.stdout
    assert "c.tar: holds no clip" in done.stderr


def test_a_full_tmpdir_ends_a_run_with_exit_code_3_and_is_named_in_the_message(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk]).returncode:
        pytest.skip("mounting a small disk takes root")
    source = tmp_path / "c.tar"
    large = wav(10_000_000)  # 40 MB, more than the memory buffer holds
    source.write_bytes(whole(member("a.wav", A), member("b.wav", large), member("c.wav", A)))
    try:
        arguments = ("embed", source, tmp_path / "table", *EMBED_OPTIONS)
        done = passtream(*arguments, env={"TMPDIR": str(disk)}, fresh_process=True)
        output = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 3, output
        assert f"no space left in {disk} (TMPDIR)" in output
        assert "Traceback" not in output
        assert not list((tmp_path / "table" / "errors").glob("*"))
        done = passtream(*arguments)
        assert done.returncode == 0
        assert "3 clips" in done.stdout
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
