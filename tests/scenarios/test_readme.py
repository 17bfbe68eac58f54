"""Runs the commands of all pages, page by page, except the commands that need a cloud.

They run in a temporary home folder. Random weights lie there in place of the published checkpoints.
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

# In the order in which a reader meets them: later commands use what earlier ones wrote.
PAGES = ("README.md", "jobs/README.md", "models/README.md", "tests/README.md", "CONTRIBUTING.md")
TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
ROOMS_WITH_A_PAGE = (
    "pipeline",
    "pipeline/sources",
    "pipeline/decode",
    "pipeline/table",
    "models",
    "jobs",
    "jobs/cluster",
    "tests",
)
# Commands that are not run here, each with the test that covers it.
ELSEWHERE = {
    "http://HEAD:8265": "tests/jobs/cli/test_job_commands.py submits to a head",
    "--device cuda": "tests/models/test_gpu_engine.py runs it on a GPU, test_bench.py on a CPU",
    "infra/gpu_check.sh": "tests/infra/test_gpu_check.py runs it on a CPU",
    "make demo": "tests/jobs/test_demo.py runs what it does",
    "make test": ".ci/run runs it",
    "make lint": ".ci/run runs it",
    "make .venv/.installed": ".ci/run runs it, as a part of the others",
    ".venv/bin/pytest": "this is one",
    ".ci/run": "it runs this",
    "passtream-*.whl": "tests/scenarios/test_current_folder.py builds and installs a wheel",
    "pip wheel": "tests/scenarios/test_current_folder.py builds it",
    "ray job submit": "tests/jobs/cli/test_job_commands.py submits a checkout to a head",
    "s3://bucket/corpus --sample": "tests/jobs/plan/test_make_plan.py plans what lies on a server",
    "pull all --to s3://": "20 downloads; tests/jobs/cli/test_models_commands.py pulls",
}
# Placeholders in the README's code, and their values in this test.
FILLED_IN = {
    "passtream embed ...": ".venv/bin/passtream embed ~/damaged ~/damaged-table",
    "/data/recordings": "~/recordings",
    "/data/embeddings": "~/nightly",
}

pytestmark = pytest.mark.timeout(600)


def find_code_blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", "".join(TEXTS.values()), re.M | re.S)
    assert found
    return found


def fill_in(text: str, home: Path) -> str:
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    return text.replace("~/", f"{home}/")


def commands_to_run() -> list[str]:
    lines = (line for block in find_code_blocks("sh") for line in block.splitlines())
    found = [line.partition("  #")[0].strip() for line in lines if line.strip()]
    return [line for line in found if not any(skipped in line for skipped in ELSEWHERE)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Home folder with recordings, a broken file, the environment of `make demo` and weights."""
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
        spec = replace(arch_spec(arch), depth=1)  # nothing here depends on the depth
        torch.save(random_state_dict(spec, 0), cache / spec.file_name)
    (config,) = find_code_blocks("yaml")
    (home / "nightly.yaml").write_text(fill_in(config, home))
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


def test_shell_python_and_sql_run_in_the_order_of_the_readme(home):
    outputs = {
        line: run("bash", "-c", fill_in(line, home), home=home) for line in commands_to_run()
    }
    assert len(outputs) >= 7
    assert "damaged/broken.wav" in next(out for line, out in outputs.items() if "grep" in line)
    tables = {path.name for path in home.iterdir()}
    assert tables >= {"embeddings", "nightly", "embeddings-v2"}
    read, models = find_code_blocks("python")
    run(sys.executable, "-c", read, home=home)
    out = run(sys.executable, "-c", models, home=home)
    assert out.count("(") >= 3
    (sql,) = find_code_blocks("sql")
    code = f"import duckdb; print(duckdb.sql({sql!r}).fetchall())"
    ((uri, likeness), _) = eval(run(sys.executable, "-c", code, home=home))
    assert uri.endswith("dog.wav")
    assert likeness > 0.999


def test_skipped_commands_and_placeholders_are_still_in_the_pages():
    assert all(part in "".join(TEXTS.values()) for part in (*ELSEWHERE, *FILLED_IN))


def test_every_page_with_commands_is_run():
    found = {
        str(page.relative_to(ROOT))
        for page in all_pages()
        if "```sh" in page.read_text() and page.parent.name not in ("infra", "monitoring")
    }
    assert found <= {*PAGES, "BENCHMARKS.md"}


def test_pages_list_every_error_class_with_its_meaning():
    section = TEXTS["jobs/README.md"].partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.M)
    expected = [f"| `{name}` | {meaning} |" for name, meaning in sorted(ERROR_CLASSES.items())]
    assert rows == sorted(ERROR_CLASSES.items()), "the table is:\n" + "\n".join(expected)


def test_links_between_pages_lead_to_files():
    for page in all_pages():
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), (page, link)


def test_paths_of_code_in_pages_exist():
    for page in all_pages():
        if page.name in ("CHANGELOG.md", "BENCHMARKS.md"):
            continue
        for name in re.findall(r"`((?:[\w]+/)*\w+\.py)`", page.read_text()):
            if "NAME" in name:
                continue  # the reader gives the name
            places = (page.parent, ROOT, ROOT / "pipeline")
            assert any((place / name).exists() for place in places), (page, name)


@pytest.mark.parametrize("room", ROOMS_WITH_A_PAGE)
def test_the_page_of_a_room_names_the_file_to_read_first(room):
    text = (ROOT / room / "README.md").read_text()
    assert re.search(r"start\s+with\s+`[\w/]+\.py`|read first", text)


@pytest.mark.parametrize(("page", "most"), [("README.md", 150), ("CONTRIBUTING.md", 80)])
def test_pages_that_all_read_are_short(page, most):
    assert len(TEXTS[page].splitlines()) <= most


def all_pages() -> list[Path]:
    """Return the pages of the repository."""
    folders = ("infra", "jobs", "models", "pipeline", "tests")
    return [*ROOT.glob("*.md"), *(page for each in folders for page in (ROOT / each).rglob("*.md"))]
