"""Pulling checkpoints: real state dicts, from a real host or the cache, to folders and URIs."""

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


def saved(state_dict) -> bytes:
    file = io.BytesIO()
    torch.save(state_dict, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def content(small_state_dict) -> bytes:
    return saved({"state_dict": {"model": small_state_dict}})


@pytest.fixture(scope="module")
def digest(content) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PASSTREAM_MODELS", raising=False)
    return tmp_path / "cache"


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    yield str(tmp_path / "models") if request.param == "folder" else "memory://models"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def host(checkpoint_host, content):
    checkpoint_host.serve(content)
    return checkpoint_host


def put_by_hand(spec, content: bytes) -> None:
    path = cached_path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_without_a_place_the_cache_is_filled(host, small_spec, content, digest):
    for _ in range(2):
        pulled = pull(small_spec)
        assert pulled.location == str(cached_path(small_spec))
        assert (pulled.n_bytes, pulled.sha256) == (len(content), digest)
    assert len(host.asked) == 1


def test_what_is_pulled_is_what_a_run_loads_without_the_internet(
    host, place, small_spec, small_state_dict, digest, tmp_path, monkeypatch
):
    pulled = pull(small_spec, place)
    assert pulled.location == open_store(place).locate(small_spec.file_name)
    assert pulled.sha256 == open_store(place).recorded(small_spec.file_name) == digest
    monkeypatch.setenv("PASSTREAM_MODELS", place)
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "another machine's"))
    host.asked.clear()
    weights = load_weights("auto", small_spec)
    assert weights.digest == state_dict_digest(small_state_dict)
    assert weights.origin == "published"
    assert pull(small_spec).sha256 == digest
    assert host.asked == []


def test_the_cache_is_asked_before_the_host(host, place, small_spec, content, digest):
    put_by_hand(small_spec, content)
    assert pull(small_spec, place).sha256 == digest
    assert host.asked == []


def test_a_second_pull_writes_nothing(host, place, small_spec, monkeypatch):
    first = pull(small_spec, place)
    kind = type(open_store(place))
    monkeypatch.setattr(kind, "put", None)
    assert pull(small_spec, place) == first


def test_another_whole_file_is_not_overwritten(host, place, small_spec, digest):
    other = hashlib.sha256(b"other").hexdigest()
    open_store(place).put(small_spec.file_name, b"other", other)
    told = rf"sha256 {other}, and the one to put there has {digest}; delete {small_spec.file_name} "
    with pytest.raises(WeightsError, match=told):
        pull(small_spec, place)
    assert open_store(place).digest(small_spec.file_name) == other


@pytest.mark.parametrize("record", ["that of the good file", "another", "none"])
def test_a_damaged_file_is_put_anew(record, host, place, small_spec, content, digest):
    store, name = open_store(place), small_spec.file_name
    recorded = {"that of the good file": digest, "another": "0" * 64, "none": "0" * 64}[record]
    store.put(name, content[:-1], recorded)
    if record == "none":
        fs, path = fsspec.url_to_fs(store.locate(name + ".sha256"))
        fs.rm_file(path)
    assert pull(small_spec, place).sha256 == digest
    assert store.digest(name) == store.recorded(name) == digest


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda state_dict: b"<html>Not Found</html>", "not a plain state dict"),
        (lambda state_dict: saved(state_dict)[:-1000], "damaged"),
        (lambda state_dict: saved(dict(list(state_dict.items())[1:])), "do not belong to arch"),
        (lambda state_dict: saved(state_dict | {"cls_token": torch.ones(3)}), "misshapen"),
    ],
    ids=["html", "cut", "another arch's", "misshapen"],
)
def test_what_is_no_state_dict_of_the_arch_is_not_put(
    made, told, host, place, small_spec, small_state_dict
):
    host.serve(made(small_state_dict))
    with pytest.raises(
        WeightsError, match=rf"'{cached_path(small_spec)}'.*{told}.*Delete that file and "
    ):
        pull(small_spec, place)
    assert open_store(place).names() == set()


def test_a_flipped_bit_in_a_value_is_told_by_the_recorded_sha256(host, small_spec, content, digest):
    """The file still loads, as test_weights shows, so nothing but its record can tell."""
    path = fetch_published(small_spec)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=rf"has sha256 .*, but {digest} was recorded"):
        load_weights("auto", small_spec)
    with pytest.raises(WeightsError, match=f"{digest} was recorded"):
        pull(small_spec)


def test_a_checkpoint_of_safetensors_is_taken(place, small_spec, small_state_dict):
    from safetensors.torch import save

    put_by_hand(small_spec, save(small_state_dict))
    pull(small_spec, place)


def test_a_changed_seed_is_another_file(place, small_spec, small_state_dict):
    put_by_hand(small_spec, saved(small_state_dict))
    first = pull(small_spec, place)
    record = cached_path(small_spec).with_name(small_spec.file_name + ".sha256")
    record.unlink()
    put_by_hand(small_spec, saved(random_state_dict(small_spec, 1)))
    with pytest.raises(WeightsError, match=first.sha256):
        pull(small_spec, place)


def test_a_bad_download_can_be_put_right_as_its_error_says(host, small_spec, content, digest):
    host.serve(content[:-1000])
    with pytest.raises(WeightsError, match=r"Delete that file and .*\.sha256"):
        pull(small_spec)
    for path in cached_path(small_spec).parent.iterdir():
        path.unlink()
    host.serve(content)
    assert pull(small_spec).sha256 == digest
