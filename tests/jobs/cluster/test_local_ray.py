"""Tests of a local Ray if TMPDIR, /dev/shm, memory or HOME do not meet Ray's requirements."""

import os
from pathlib import Path

import pytest

from jobs.cluster import local_ray
from jobs.cluster.local_ray import LocalRay
from pipeline.errors import UsageError
from tests.support import QUICK, assert_verified, passtream, write_tones

MIB = 1 << 20
PLENTY = 8 << 30


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def set_resources(monkeypatch):
    """A function that sets the free shared memory and disk, the memory and the number of CPUs."""

    def set_all(shared=PLENTY, disk=PLENTY, memory=PLENTY, cpus=4):
        monkeypatch.setattr(
            local_ray, "_free_bytes", lambda path: shared if path == "/dev/shm" else disk
        )
        monkeypatch.setattr(local_ray, "get_system_memory", lambda: memory)
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)

    return set_all


def get_store_bytes(warnings, n_actors=1):
    with LocalRay(n_actors, warnings.append).settings() as settings:
        return settings["object_store_memory"]


def test_store_has_room_for_actors_and_decoders_if_memory_suffices(set_resources, warnings):
    set_resources()
    assert get_store_bytes(warnings, 2) == (2 * 256 + 4 * 40) * MIB
    assert warnings == []


def test_store_is_limited_to_free_shared_memory(set_resources, warnings):
    set_resources(shared=1000 * MIB, cpus=200)
    assert get_store_bytes(warnings) == 900 * MIB
    assert (
        "Ray's object store has 900 MiB of 8,256 MiB: /dev/shm has no room for more" in warnings[0]
    )


def test_store_is_a_file_on_disk_if_shared_memory_is_too_small(set_resources, warnings):
    set_resources(shared=64 * MIB, memory=512 << 30, disk=100 << 30, cpus=256)
    assert (
        get_store_bytes(warnings) == 4 << 30
    )  # 256 CPUs want ten gigabytes, but Ray refuses so large a store on disk
    assert "as /dev/shm is too small (docker: --shm-size)" in warnings[0]


def test_store_is_limited_to_a_share_of_memory(set_resources, warnings):
    set_resources(memory=1000 * MIB, cpus=64)
    assert get_store_bytes(warnings) == 300 * MIB
    assert "this machine has little memory" in warnings[0]


def test_refusal_for_lack_of_space_names_the_settings_to_change(set_resources, warnings):
    set_resources(shared=64 * MIB, disk=10 * MIB)
    with pytest.raises(UsageError, match=r"--shm-size, set TMPDIR .* or use --in-process"):
        get_store_bytes(warnings)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_folder_with_a_long_path_is_replaced_by_a_private_folder_with_a_short_path(
    variable, set_resources, warnings, tmp_path, monkeypatch
):
    set_resources()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv(variable, str(long))
    with LocalRay(1, warnings.append).settings() as settings:
        folder = Path(settings["_temp_dir"])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(str(folder)) < 40
        assert settings["object_spilling_directory"] == str(long)
    assert not folder.exists()
    assert f"{variable}='{long}' makes paths of " in warnings[0]


def test_folder_without_write_access_is_replaced_and_named_in_a_warning(
    set_resources, warnings, tmp_path, monkeypatch
):
    set_resources()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file" / "below"))
    with LocalRay(1, warnings.append).settings() as settings:
        assert "object_spilling_directory" not in settings
    assert "cannot be written to" in warnings[0]


def test_refusal_for_lack_of_a_short_folder_names_the_variable_to_set(
    set_resources, warnings, tmp_path, monkeypatch
):
    set_resources()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 20)))
    monkeypatch.setattr(local_ray, "_SHORT_FOLDERS", ("/nowhere", "/dev/null"))
    with (
        pytest.raises(UsageError, match="set RAY_TMPDIR to a folder with a short path"),
        LocalRay(1, warnings.append).settings(),
    ):
        pytest.fail("settings were given without a folder")


def test_run_succeeds_with_a_long_tmpdir_and_without_write_access_to_home(tmp_path):
    corpus, long, home = tmp_path / "corpus", tmp_path / ("long" * 20), tmp_path / "home"
    write_tones(corpus, [1.0])
    long.mkdir()
    home.write_text("a file, so that not even root can create files below it")
    env = {"TMPDIR": str(long), "HOME": str(home)}
    done = passtream("embed", corpus, tmp_path / "table", *QUICK, env=env)
    assert done.returncode == 0, done.stderr
    assert "Ray's sockets and logs are in /tmp/passtream-" in done.stderr
    assert assert_verified(tmp_path / "table").clips == 1
