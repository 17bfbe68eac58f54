"""Checks of the Dockerfile that need no build, as there is no Docker where the tests run."""

import fnmatch
import json
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import distributions

import pytest

from tests.support import ROOT

TEXT = (ROOT / "infra" / "Dockerfile").read_text()
IGNORED = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().split("\n")
INSTRUCTIONS = {
    "ARG",
    "CMD",
    "COPY",
    "ENV",
    "FROM",
    "LABEL",
    "RUN",
    "USER",
    "WORKDIR",
}


def instructions():
    """Return name and arguments of each instruction, without comments."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def stages():
    """Return the instructions of each stage, and the base image of each stage."""
    found, bases = {}, {}
    stage = ""  # instructions before the first stage
    for name, rest in instructions():
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            bases[stage], found[stage] = base, []
        else:
            found.setdefault(stage, []).append((name, rest))
    return found, bases


def sources():
    """Yield the paths of the repository that the Dockerfile copies or mounts."""
    for name, rest in instructions():
        if name == "COPY" and "--from=" not in rest:
            yield from rest.split()[:-1]
        for mount in re.findall(r"--mount=(\S+)", rest):
            options = dict(each.split("=", 1) for each in mount.split(","))
            if "from" not in options:
                yield options["source"]


def test_no_instruction_downloads_files():
    assert {name for name, _ in instructions()} <= INSTRUCTIONS  # there is no ADD
    assert "curl" not in TEXT
    assert "http" not in " ".join(rest for name, rest in instructions() if name == "COPY")


def test_bases_are_pinned():
    _, bases = stages()
    digest = r"@\$\{PYTHON_DIGEST\}"
    for base in bases.values():
        assert base in bases or re.fullmatch(rf"python:3\.\d+\.\d+-slim-[a-z]+{digest}", base), base
    # It has no default, so every build has to name the digest of a checked base.
    assert ["ARG", "PYTHON_DIGEST"] in instructions()
    assert "python:3.11.14-slim-bookworm" in TEXT.split("org.opencontainers.image.base.name=")[1]


def test_copied_files_exist_and_are_not_ignored():
    shown = {line[1:] for line in IGNORED if line.startswith("!")}
    found = {source.removeprefix("./") for source in sources()}
    assert found == shown
    assert all((ROOT / source).exists() for source in found)
    stage_names = set(stages()[0])
    assert set(re.findall(r"--from=([\w-]+)", TEXT)) <= stage_names
    assert set(re.findall(r",from=([\w-]+)", TEXT)) <= stage_names


def test_packages_are_copied_whole():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setuptools = project["tool"]["setuptools"]
    packages = {name.rstrip("*") for name in setuptools["packages"]["find"]["include"]}
    packages |= {f"{name}.py" for name in setuptools["py-modules"]}
    (wheel,) = (each for name, each in stages()[0].items() if name == "wheel")
    copied = {each for name, rest in wheel if name == "COPY" for each in rest.split()[:-1]}
    assert packages <= copied


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_runs_as_an_unprivileged_user_with_the_locked_versions(target):
    found, bases = stages()
    users = [rest for name, rest in found[target] if name == "USER"]
    assert users == ["10001:10001"]
    assert bases[target] == {"cpu": "runtime", "gpu": "runtime-gpu"}[target]
    last = max(i for i, (name, _) in enumerate(found[target]) if name == "RUN")
    assert ("USER", "10001:10001") in found[target][last:]
    (installs,) = (rest for name, rest in found[f"dependencies-{target}"] if name == "RUN")
    for command in (each for each in installs.split("&&") if " install " in each):
        # torch's own index has other wheels than PyPI, so the hashes do not apply to them.
        is_torch_index = "--index-url" in command
        wanted = "-c requirements.lock torch" if is_torch_index else "--require-hashes --no-deps -r"
        assert wanted in command
    assert ("--index-url" in installs) == (target == "cpu")
    (wheel,) = (rest for name, rest in found[target] if name == "RUN")
    assert "--no-deps --no-index" in wheel


def test_only_the_gpu_image_has_a_compiler():
    found, bases = stages()
    installing = [name for name, each in found.items() if "gcc" in str(each)]
    assert installing == ["runtime-gpu"]
    assert bases["runtime-gpu"] == "runtime"


def pins(name):
    """Return versions by name from a file of pins; only `requirements.hashes` may have hashes."""
    lines = (ROOT / "infra" / name).read_text().splitlines()
    pin = re.compile(r"([\w.-]+)==([\w.+]+)( --hash=sha256:[0-9a-f]{64})?")
    found = [pin.fullmatch(each) for each in lines]
    assert all(found)
    assert all(bool(each[3]) == (name == "requirements.hashes") for each in found)
    return {canonical(each[1]): each[2] for each in found}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_hashes_match_the_locked_versions_and_cover_all_dependencies():
    locked, hashed = pins("requirements.lock"), pins("requirements.hashes")
    hashed.pop("setuptools")  # `pip freeze` leaves it out
    assert hashed.items() <= locked.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonical(re.match(r"[\w.-]+", each)[0]) for each in project["dependencies"]}
    assert wanted <= hashed.keys()
    assert {"torch", "torchaudio", "torchvision"} <= hashed.keys()


def test_lock_hashes_prints_a_report_of_pip_as_pins_with_hashes(tmp_path):
    package = {"metadata": {"name": "a", "version": "1"}}
    archive = {"archive_info": {"hashes": {"sha256": "ab"}}}
    folder = {"metadata": {"name": "passtream", "version": "1"}, "download_info": {"dir_info": {}}}
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": [package | {"download_info": archive}, folder]}))
    script = ROOT / "infra" / "lock_hashes.py"
    done = subprocess.run([sys.executable, script, report], capture_output=True, text=True)
    assert done.stdout == "a==1 --hash=sha256:ab\n", done.stderr


def test_build_context_contains_no_secrets():
    assert IGNORED[1] == "*"
    shown = [line[1:] for line in IGNORED if line.startswith("!")]
    assert not any(fnmatch.fnmatch(name, pattern) for pattern in shown for name in (".git", ".env"))


def test_list_packages_prints_a_licence_for_each_package(capsys):
    runpy.run_path(str(ROOT / "infra" / "list_packages.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= len({each.name for each in distributions()}) // 2
    assert all(re.fullmatch(r"\S+==\S+\t.+", line) for line in lines)
    assert any(line.startswith("ray==") for line in lines)
