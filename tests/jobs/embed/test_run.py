"""`python -m jobs.embed`, as jobs are submitted, is `passtream embed`."""

import signal
import subprocess
import sys

from tests.support import QUICK, ROOT, kill_session, n_commits, wait_until, write_tones


def _started(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.embed", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_it_refuses_and_stops_as_the_command_does(tmp_path):
    refused = _started(tmp_path / "nowhere", tmp_path / "table", *QUICK)
    write_tones(tmp_path / "corpus", [9.5] * 40)
    options = (*QUICK, "--in-process", "--shard-clips", 1)
    run = _started(tmp_path / "corpus", tmp_path / "table", *options)
    try:
        told, _ = refused.communicate(timeout=60)
        assert (refused.returncode, "no such file or folder" in told) == (2, True), told
        wait_until(lambda: n_commits(tmp_path / "table") >= 1 or run.poll() is not None)
        run.send_signal(signal.SIGTERM)
        told, _ = run.communicate(timeout=60)
    finally:
        kill_session(refused)
        kill_session(run)
    assert run.returncode == 130, told
    assert "stopped; what is committed stays" in told
    assert n_commits(tmp_path / "table") < 40
