"""Tests of `infra/gpu_check.sh` on a machine without a GPU."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

SCRIPT = ROOT / "infra" / "gpu_check.sh"


def check(*arguments):
    env = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, env=env)


def test_quick_check_on_a_cpu_runs_all_steps_and_prints_a_table(tmp_path):
    out = tmp_path / "found"
    out.mkdir()
    (out / "rest.jsonl").write_text("result of an earlier check")
    done = check("--device", "cpu", "--quick", out)
    assert done.returncode == 0, done.stderr
    names = {"log.txt", "versions.txt", "windows.jsonl", "kernels.jsonl", "table.md"}
    assert {path.name for path in out.iterdir()} == names
    table = (out / "table.md").read_text()
    for part in ("torch sees no GPU", "| 4 windows of 1 s, bf16 | passtream |", "cosine to fp32"):
        assert part in table
    for step in ("versions", "windows", "kernels"):
        assert f"{step}: exit code 0" in table
    assert done.stdout.endswith(table)


def test_failing_step_does_not_end_the_check(tmp_path):
    # There is no device "tpu", so every benchmark fails.
    done = check("--device", "tpu", "--quick", tmp_path, tmp_path / "wheels")
    table = (tmp_path / "table.md").read_text()
    assert "windows: exit code 2" in table
    assert "kernels: exit code 2" in table
    assert "versions: exit code 0" in table
    wheels = tmp_path / "wheels"
    assert f"no reference: hear21passt cannot be installed from {wheels}" in done.stdout
    assert "device must be one of cpu, cuda (got 'tpu')" in (tmp_path / "log.txt").read_text()
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "usage: infra/gpu_check.sh"), (("--fast", "x"), "no such option: --fast")],
)
def test_wrong_arguments_give_exit_code_2(arguments, message):
    done = check(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
