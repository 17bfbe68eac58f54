"""Tests of the commands in infra/README.md: runs local commands, parses passtream commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from jobs.cli.main import app
from tests.infra.kubernetes_objects import validate_objects
from tests.infra.kustomize import build
from tests.support import ROOT

PAGES = sorted((ROOT / "infra").glob("*.md"))
# Beginnings of commands that reach a registry, a cluster or a cloud.
ELSEWHERE = ("docker ", "kubectl ", "helm ", "aws ", "ray ")
PASSTREAM = ".venv/bin/passtream "
RUN_HERE = ("cp ", "sed ", f"{PASSTREAM}models list")


def commands() -> list[str]:
    text = (ROOT / "infra" / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    joined = "".join(re.sub(r"\n(?=  )", " ", block) for block in blocks)  # continued lines
    return joined.splitlines()


def is_here(line: str) -> bool:
    return line.startswith(RUN_HERE)


def test_every_command_is_remote_or_passtreams_or_run_here():
    assert len(commands()) >= 30
    for line in commands():
        assert is_here(line) or line.startswith((*ELSEWHERE, PASSTREAM)), line


@pytest.mark.parametrize("line", [each for each in commands() if each.startswith(PASSTREAM)])
def test_passtream_commands_and_their_options_exist(line):
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"passtream has no {name}"
        command = command.commands[name]
    command.make_context("passtream", words)


def test_files_in_commands_exist():
    for line in commands():
        for path in re.findall(r"(?<![\w/])infra/[\w./-]+", line):
            shipped = path.replace("kuberay/mine", "kuberay/example")
            assert (ROOT / shipped).exists(), line


def test_local_commands_fill_in_a_copy_of_the_example(tmp_path):
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    here = [line for line in commands() if is_here(line)]
    assert len(here) == 5
    for line in here:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
    mine = tmp_path / "infra" / "kuberay" / "mine"
    for folder in ("run", "nightly", "nightly-raycronjob"):
        objects = build(mine / folder)
        assert validate_objects(objects)
        # Placeholders may remain in comments, but not in the objects.
        assert not re.search(r"ACCOUNT_ID|REGION|_BUCKET|_DIGEST", str(objects)), folder
    for path in (tmp_path / "infra" / "aws").iterdir():
        assert not re.search(r"ACCOUNT_ID|REGION|_BUCKET", path.read_text()), path


def test_pages_are_short():
    assert all(len(page.read_text().splitlines()) <= 220 for page in PAGES)
