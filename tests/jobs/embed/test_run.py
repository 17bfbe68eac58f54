"""Tests of `python -m jobs.embed`, the form in which Ray jobs run `passtream embed`."""

import signal
import subprocess
import sys

from tests.support import QUICK, ROOT, kill_session, n_commits, wait_until, write_tones


def _start_embed(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.embed", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_missing_source_is_refused_and_sigterm_stops_the_run(tmp_path):
    refused = _start_embed(tmp_path / "nowhere", tmp_path / "table", *QUICK)
    write_tones(tmp_path / "corpus", [9.5] * 40)
    options = (*QUICK, "--in-process", "--shard-clips", 1)
    run = _start_embed(tmp_path / "corpus", tmp_path / "table", *options)
    try:
        output, _ = refused.communicate(timeout=60)
        assert (refused.returncode, "no such file or folder" in output) == (2, True), output
        wait_until(lambda: n_commits(tmp_path / "table") >= 1 or run.poll() is not None)
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=60)
    finally:
        kill_session(refused)
        kill_session(run)
    assert run.returncode == 130, output
    assert "stopped; what is committed stays" in output
    assert n_commits(tmp_path / "table") < 40
