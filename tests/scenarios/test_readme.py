"""The README's commands, from its first line to its last: those that need no cloud are run.

A home folder of its own stands for yours. The weights there are random, where published ones would
be: the commands do not know.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from models.archs import DEFAULT_ARCH, arch_spec
from models.checkpoints.state_dict import random_state_dict
from pipeline.error_classes import ERROR_CLASSES
from tests.support import ONE_BLOCK_EACH, ROOT, tone

README = (ROOT / "README.md").read_text()
ELSEWHERE = {
    "http://HEAD:8265": "tests/jobs/cli/test_job_commands.py submits to a head",
    "--device cuda": "tests/models/test_gpu_engine.py runs it on a GPU, test_bench.py on a CPU",
    "infra/gpu_check.sh": "tests/infra/test_gpu_check.py runs it on a CPU",
    "make demo": "tests/jobs/test_demo.py runs what it does",
    "make test": ".ci/run runs it",
    "passtream-*.whl": "tests/scenarios/test_current_folder.py builds and installs a wheel",
    "pip wheel": "tests/scenarios/test_current_folder.py builds it",
    "ray job submit": "tests/jobs/cli/test_job_commands.py submits a checkout to a head",
    "s3://bucket/corpus --sample": "tests/jobs/plan/test_make_plan.py plans what lies on a server",
    "pull all --to s3://": "20 downloads; tests/jobs/cli/test_models_commands.py pulls",
}
# What a block leaves to its reader, and what is there in its place.
FILLED_IN = {
    "passtream embed ...": ".venv/bin/passtream embed ~/damaged ~/damaged-table",
    "/data/recordings": "~/recordings",
    "/data/embeddings": "~/nightly",
}

pytestmark = pytest.mark.timeout(600)


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)
    assert found
    return found


def filled_in(text: str, home: Path) -> str:
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    return text.replace("~/", f"{home}/")


def commands() -> list[str]:
    lines = (line for block in blocks("sh") for line in block.splitlines())
    found = [line.partition("  #")[0].strip() for line in lines if line.strip()]
    return [line for line in found if not any(skipped in line for skipped in ELSEWHERE)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Recordings, a dog among them, one that is none, and what `make demo` has installed."""
    home = tmp_path_factory.mktemp("home")
    recordings = home / "recordings"
    recordings.mkdir()
    for seed, name in enumerate(("dog", "door")):
        soundfile.write(recordings / f"{name}.wav", tone(0.6, 16_000, seed), 16_000)
    (home / "damaged").mkdir()
    (home / "damaged" / "broken.wav").write_bytes(b"no audio at all")
    (home / ".venv").mkdir()
    (home / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    cache = home / ".cache" / "passtream" / "checkpoints"
    cache.mkdir(parents=True)
    for arch in (DEFAULT_ARCH, "passt_20sec"):
        spec = replace(arch_spec(arch), depth=1)  # what is said here does not depend on it
        torch.save(random_state_dict(spec, 0), cache / spec.file_name)
    (config,) = blocks("yaml")
    (home / "nightly.yaml").write_text(filled_in(config, home))
    yield home
    shutil.rmtree(home)


def run(*command: str, home: Path) -> str:
    env = os.environ | ONE_BLOCK_EACH | {"HOME": str(home)}
    env.pop("PASSTREAM_CACHE", None)
    done = subprocess.run(
        command, cwd=home, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_shell_and_sql_and_python_in_the_order_of_the_page(home):
    said = {line: run("bash", "-c", filled_in(line, home), home=home) for line in commands()}
    assert len(said) >= 7
    assert "damaged/broken.wav" in next(out for line, out in said.items() if "grep" in line)
    tables = {path.name for path in home.iterdir()}
    assert tables >= {"embeddings", "nightly", "embeddings-v2"}
    read, models = blocks("python")
    run(sys.executable, "-c", read, home=home)
    out = run(sys.executable, "-c", models, home=home)
    assert out.count("(") >= 3
    (sql,) = blocks("sql")
    code = f"import duckdb; print(duckdb.sql({sql!r}).fetchall())"
    ((uri, likeness), _) = eval(run(sys.executable, "-c", code, home=home))
    assert uri.endswith("dog.wav")
    assert likeness > 0.999


def test_what_is_run_elsewhere_is_still_in_the_page():
    assert all(part in README for part in (*ELSEWHERE, *FILLED_IN))


def test_every_class_of_errors_is_in_the_page_with_its_meaning():
    section = README.partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.M)
    expected = [f"| `{name}` | {meaning} |" for name, meaning in sorted(ERROR_CLASSES.items())]
    assert rows == sorted(ERROR_CLASSES.items()), "the table is:\n" + "\n".join(expected)


def test_links_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("infra/**/*.md")):
        for place in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            assert place.startswith("http") or (page.parent / place).exists(), (page, place)
