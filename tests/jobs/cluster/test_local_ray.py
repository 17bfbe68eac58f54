"""A Ray of a run's own starts where TMPDIR, /dev/shm, memory or HOME are not as Ray wants them."""

import os
from pathlib import Path

import pytest

from jobs.cluster import local_ray
from jobs.cluster.local_ray import LocalRay
from pipeline.errors import UsageError
from tests.support import QUICK, assert_verified, passtream, write_tones

MIB = 1 << 20
ROOMY = 8 << 30


@pytest.fixture
def told():
    return []


@pytest.fixture
def room(monkeypatch):
    """Sets what is free: shared memory, disk and memory of this machine; and its CPUs."""

    def have(shared=ROOMY, disk=ROOMY, memory=ROOMY, cpus=4):
        monkeypatch.setattr(
            local_ray, "_free_bytes", lambda path: shared if path == "/dev/shm" else disk
        )
        monkeypatch.setattr(local_ray, "get_system_memory", lambda: memory)
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)

    return have


def store_bytes(told, n_actors=1):
    with LocalRay(n_actors, told.append).settings() as settings:
        return settings["object_store_memory"]


def test_store_has_what_actors_and_decoders_want_where_there_is_room(room, told):
    room()
    assert store_bytes(told, 2) == (2 * 256 + 4 * 40) * MIB
    assert told == []


def test_store_takes_the_shared_memory_that_there_is(room, told):
    room(shared=1000 * MIB, cpus=200)
    assert store_bytes(told) == 900 * MIB
    assert "Ray's object store has 900 MiB of 8,256 MiB: /dev/shm has no room for more" in told[0]


def test_store_of_many_cpus_with_the_shared_memory_of_docker_is_a_file(room, told):
    room(shared=64 * MIB, memory=512 << 30, disk=100 << 30, cpus=256)
    assert store_bytes(told) == 4 << 30  # Ray refuses ten gigabytes on disk
    assert "as /dev/shm is too small (docker: --shm-size)" in told[0]


def test_store_leaves_most_of_little_memory_to_others(room, told):
    room(memory=1000 * MIB, cpus=64)
    assert store_bytes(told) == 300 * MIB
    assert "this machine has little memory" in told[0]


def test_too_little_of_everything_is_told_by_the_names_to_change(room, told):
    room(shared=64 * MIB, disk=10 * MIB)
    with pytest.raises(UsageError, match=r"--shm-size, set TMPDIR .* or use --in-process"):
        store_bytes(told)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_long_folder_is_replaced_by_a_short_private_one(
    variable, room, told, tmp_path, monkeypatch
):
    room()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv(variable, str(long))
    with LocalRay(1, told.append).settings() as settings:
        folder = Path(settings["_temp_dir"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(str(folder)) < 40
        assert settings["object_spilling_directory"] == str(long)
    assert not folder.exists()
    assert f"{variable}='{long}' makes paths of " in told[0]


def test_folder_that_cannot_be_written_is_replaced_and_named(room, told, tmp_path, monkeypatch):
    room()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file" / "below"))
    with LocalRay(1, told.append).settings() as settings:
        assert "object_spilling_directory" not in settings
    assert "cannot be written to" in told[0]


def test_machine_without_a_short_folder_is_told_which_variable_to_set(
    room, told, tmp_path, monkeypatch
):
    room()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 20)))
    monkeypatch.setattr(local_ray, "_SHORT_FOLDERS", ("/nowhere", "/dev/null"))
    with (
        pytest.raises(UsageError, match="set RAY_TMPDIR to a folder with a short path"),
        LocalRay(1, told.append).settings(),
    ):
        pytest.fail("there is none")


def test_run_with_a_long_tmpdir_and_a_home_that_cannot_be_written(tmp_path):
    corpus, long, home = tmp_path / "corpus", tmp_path / ("long" * 20), tmp_path / "home"
    write_tones(corpus, [1.0])
    long.mkdir()
    home.write_text("a file: nothing can be made below it, whoever tries")
    env = {"TMPDIR": str(long), "HOME": str(home)}
    done = passtream("embed", corpus, tmp_path / "table", *QUICK, env=env)
    assert done.returncode == 0, done.stderr
    assert "Ray's sockets and logs are in /tmp/passtream-" in done.stderr
    assert assert_verified(tmp_path / "table").clips == 1
