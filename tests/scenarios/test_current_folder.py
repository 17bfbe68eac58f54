"""An installed passtream and its workers import nothing from the current folder."""

import os
import shutil

import pytest
import yaml

from tests.installed import CUSTOM, build_wheel, install_wheel, run_installed, write_traps
from tests.ray_head import ray_head
from tests.support import FAST, ROOT, assert_verified, write_tones

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The command of passtream, installed from a wheel."""
    folder = tmp_path_factory.mktemp("installed")
    return install_wheel(build_wheel(folder), folder / "environment")


@pytest.fixture
def alarm(tmp_path):
    return tmp_path / "alarm"


@pytest.fixture
def corpus(tmp_path, alarm):
    """A folder of recordings and of modules that write to `alarm` when they are imported."""
    folder = tmp_path / "corpus"
    write_tones(folder, [1.0, 2.0])
    write_traps(folder, alarm)
    return folder


def test_wheel_runs_in_a_folder_with_packages_of_the_same_names(program, corpus, alarm, tmp_path):
    for args in (("--help",), ("models", "list"), ("plan", ".", "--gpu", "none")):
        run_installed(program, *args, folder=corpus)
        assert not alarm.exists(), (args, alarm.read_text())
    done = run_installed(program, "embed", ".", "../table", *FAST, "--in-process", folder=corpus)
    assert done.returncode == 0, done.stderr
    assert assert_verified(tmp_path / "table").clips == 2
    assert not alarm.exists(), alarm.read_text()


@pytest.mark.parametrize("path", [":", "/nowhere:", ".", ":/nowhere:models"])
def test_relative_parts_of_pythonpath_import_nothing_of_the_current_folder(
    program, corpus, alarm, path
):
    # Python imports these itself, before passtream can change the path.
    for name in CUSTOM:
        (corpus / f"{name}.py").unlink()
    shutil.rmtree(corpus / "passtream")
    done = run_installed(program, "models", "list", folder=corpus, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert not alarm.exists(), alarm.read_text()


def test_workers_of_a_local_ray_import_nothing_of_the_current_folder(
    program, corpus, alarm, tmp_path
):
    done = run_installed(program, "embed", ".", "../table", *FAST, folder=corpus)
    assert done.returncode == 0, done.stderr
    assert assert_verified(tmp_path / "table").clips == 2
    assert not alarm.exists(), alarm.read_text()


@pytest.mark.slow
def test_workers_of_a_running_cluster_import_nothing_of_the_current_folder(
    program, corpus, alarm, tmp_path
):
    path = {"PYTHONPATH": str(ROOT)}
    with ray_head(path) as head:
        env = head.env | {"RAY_ADDRESS": head.address}
        args = ("embed", corpus, tmp_path / "table", *FAST, "--address", "auto")
        done = run_installed(program, *args, folder=corpus, **env)
        assert done.returncode == 0, done.stderr
        assert assert_verified(tmp_path / "table").clips == 2
        assert not alarm.exists(), alarm.read_text()


@pytest.mark.slow
def test_a_submitted_job_imports_nothing_of_the_current_folder(program, corpus, alarm, tmp_path):
    table = tmp_path / "table"
    arch, weights = FAST[1::2]
    settings = {"sources": [str(corpus)], "table": str(table), "arch": arch, "weights": weights}
    (corpus / "run.yaml").write_text(yaml.safe_dump(settings))
    with ray_head({"PYTHONPATH": str(ROOT)}) as head:
        command = ("submit", "run.yaml", "--address", head.url)
        done = run_installed(program, *command, folder=corpus, **head.env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert assert_verified(table).clips == 2
        assert not alarm.exists(), alarm.read_text()


def test_packages_of_another_project_on_the_path_are_refused_by_name(program, corpus):
    done = run_installed(program, "--help", folder=corpus, PYTHONPATH=os.fspath(corpus / "models"))
    assert done.returncode == 0, done.stderr
    for trap in corpus.glob("*.py"):
        trap.unlink()
    for name in ("jobs", "pipeline", "ray", "passtream"):
        shutil.rmtree(corpus / name)
    done = run_installed(program, "--help", folder=corpus, PYTHONPATH=os.fspath(corpus))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"the package 'models' would be imported from {corpus / 'models'}" in line
    assert "unset PYTHONPATH" in line


def test_a_module_that_another_package_has_replaced_is_reported(program, tmp_path):
    (site,) = program.parents[1].glob("lib/python*/site-packages")
    module, saved = site / "models" / "errors.py", tmp_path / "errors.py"
    shutil.move(module, saved)
    try:
        done = run_installed(program, "--help", folder=tmp_path)
    finally:
        shutil.move(saved, module)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "parts of passtream are missing or replaced (No module named 'models.errors')" in line
