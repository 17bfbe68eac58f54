"""Tests of pulling checkpoints from an HTTP host or the cache to folders and URIs."""

import hashlib
import io

import fsspec
import pytest
import torch

from models.checkpoints.model_store import open_store
from models.checkpoints.published import cached_path, fetch_published
from models.checkpoints.pull import pull
from models.checkpoints.state_dict import load_weights, random_state_dict, state_dict_digest
from models.errors import WeightsError


def save_to_bytes(state_dict) -> bytes:
    file = io.BytesIO()
    torch.save(state_dict, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def content(small_state_dict) -> bytes:
    return save_to_bytes({"state_dict": {"model": small_state_dict}})


@pytest.fixture(scope="module")
def digest(content) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PASSTREAM_MODELS", raising=False)
    return tmp_path / "cache"


@pytest.fixture(params=["folder", "memory"])
def store_location(request, tmp_path):
    yield str(tmp_path / "models") if request.param == "folder" else "memory://models"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def host(checkpoint_host, content):
    checkpoint_host.serve(content)
    return checkpoint_host


def write_cached_file(spec, content: bytes) -> None:
    path = cached_path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_pull_without_a_store_fills_the_cache(host, small_spec, content, digest):
    for _ in range(2):
        pulled = pull(small_spec)
        assert pulled.location == str(cached_path(small_spec))
        assert (pulled.n_bytes, pulled.sha256) == (len(content), digest)
    assert len(host.requested_paths) == 1


def test_a_run_loads_the_pulled_checkpoint_without_a_request(
    host, store_location, small_spec, small_state_dict, digest, tmp_path, monkeypatch
):
    pulled = pull(small_spec, store_location)
    assert pulled.location == open_store(store_location).locate(small_spec.file_name)
    assert (
        pulled.sha256 == open_store(store_location).recorded_digest(small_spec.file_name) == digest
    )
    monkeypatch.setenv("PASSTREAM_MODELS", store_location)
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "another machine's"))
    host.requested_paths.clear()
    weights = load_weights("auto", small_spec)
    assert weights.digest == state_dict_digest(small_state_dict)
    assert weights.origin == "published"
    assert pull(small_spec).sha256 == digest
    assert host.requested_paths == []


def test_a_cached_checkpoint_is_not_downloaded(host, store_location, small_spec, content, digest):
    write_cached_file(small_spec, content)
    assert pull(small_spec, store_location).sha256 == digest
    assert host.requested_paths == []


def test_a_second_pull_writes_nothing(host, store_location, small_spec, monkeypatch):
    first = pull(small_spec, store_location)
    store_class = type(open_store(store_location))
    monkeypatch.setattr(store_class, "put", None)
    assert pull(small_spec, store_location) == first


def test_a_different_intact_file_is_not_overwritten(host, store_location, small_spec, digest):
    other = hashlib.sha256(b"other").hexdigest()
    open_store(store_location).put(small_spec.file_name, b"other", other)
    message = rf"sha256 {other}, but the new file has {digest}; delete {small_spec.file_name} "
    with pytest.raises(WeightsError, match=message):
        pull(small_spec, store_location)
    assert open_store(store_location).digest(small_spec.file_name) == other


@pytest.mark.parametrize("record", ["of the intact file", "another", "none"])
def test_a_damaged_file_is_replaced(record, host, store_location, small_spec, content, digest):
    store, name = open_store(store_location), small_spec.file_name
    recorded = {"of the intact file": digest, "another": "0" * 64, "none": "0" * 64}[record]
    store.put(name, content[:-1], recorded)
    if record == "none":
        fs, path = fsspec.url_to_fs(store.locate(name + ".sha256"))
        fs.rm_file(path)
    assert pull(small_spec, store_location).sha256 == digest
    assert store.digest(name) == store.recorded_digest(name) == digest


@pytest.mark.parametrize(
    ("make_content", "message"),
    [
        (lambda state_dict: b"<html>Not Found</html>", "not a plain state dict"),
        (lambda state_dict: save_to_bytes(state_dict)[:-1000], "damaged"),
        (
            lambda state_dict: save_to_bytes(dict(list(state_dict.items())[1:])),
            "do not belong to arch",
        ),
        (lambda state_dict: save_to_bytes(state_dict | {"cls_token": torch.ones(3)}), "misshapen"),
    ],
    ids=["html", "truncated", "other keys", "misshapen"],
)
def test_a_file_that_is_not_the_state_dict_of_the_arch_is_not_put(
    make_content, message, host, store_location, small_spec, small_state_dict
):
    host.serve(make_content(small_state_dict))
    with pytest.raises(
        WeightsError, match=rf"'{cached_path(small_spec)}'.*{message}.*Delete that file and "
    ):
        pull(small_spec, store_location)
    assert open_store(store_location).names() == set()


def test_a_flipped_bit_in_a_value_is_detected_by_the_record(host, small_spec, content, digest):
    """The file still loads, as `test_state_dict` shows, so only the recorded sha256 detects it."""
    path = fetch_published(small_spec)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=rf"has sha256 .*, but {digest} was recorded"):
        load_weights("auto", small_spec)
    with pytest.raises(WeightsError, match=f"{digest} was recorded"):
        pull(small_spec)


def test_a_safetensors_checkpoint_can_be_pulled(store_location, small_spec, small_state_dict):
    from safetensors.torch import save

    write_cached_file(small_spec, save(small_state_dict))
    pull(small_spec, store_location)


def test_a_different_cached_file_does_not_replace_the_one_in_the_store(
    store_location, small_spec, small_state_dict
):
    write_cached_file(small_spec, save_to_bytes(small_state_dict))
    first = pull(small_spec, store_location)
    record = cached_path(small_spec).with_name(small_spec.file_name + ".sha256")
    record.unlink()
    write_cached_file(small_spec, save_to_bytes(random_state_dict(small_spec, 1)))
    with pytest.raises(WeightsError, match=first.sha256):
        pull(small_spec, store_location)


def test_a_bad_download_can_be_repaired_as_the_error_says(host, small_spec, content, digest):
    host.serve(content[:-1000])
    with pytest.raises(WeightsError, match=r"Delete that file and .*\.sha256"):
        pull(small_spec)
    for path in cached_path(small_spec).parent.iterdir():
        path.unlink()
    host.serve(content)
    assert pull(small_spec).sha256 == digest
