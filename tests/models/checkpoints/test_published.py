"""Tests of access to published checkpoints: downloads over HTTP, the cache, and model stores."""

import gc
import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from models import archs
from models.archs import ARCHS
from models.checkpoints.model_store import open_store
from models.checkpoints.published import (
    cache_dir,
    cached_path,
    fetch_published,
    locate_checkpoints,
    source_of,
)
from models.errors import WeightsError, WeightsUnavailableError

# The content takes several reads, and the last read is shorter.
CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def host(checkpoint_host):
    checkpoint_host.serve(CONTENT)
    return checkpoint_host


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no model store."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PASSTREAM_MODELS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def published(spec):
    return replace(spec, checkpoint="v1/small.pt")


def write_cached_file(spec, content: bytes = CONTENT) -> Path:
    path = cached_path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_first_use_downloads_the_file_and_records_its_digest(host, published, cache):
    path = fetch_published(published)
    assert path == cache / "checkpoints" / "small.pt"
    assert path.read_bytes() == CONTENT
    assert record_path(path).read_text() == DIGEST + "\n"
    assert sorted(files_below(cache)) == [path, record_path(path)]
    assert host.requested_paths == ["/v1/small.pt"]


def test_second_use_sends_no_request(host, published):
    first = fetch_published(published)
    assert fetch_published(published) == first
    assert len(host.requested_paths) == 1


def test_progress_increases_up_to_the_total(host, published):
    seen = []
    fetch_published(published, lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1][0] == len(CONTENT)
    assert {total for _, total in seen} == {len(CONTENT)}


def test_progress_without_a_content_length_has_no_total(host, published):
    host.headers = {}
    seen = []
    path = fetch_published(published, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), None)
    assert path.read_bytes() == CONTENT


def test_a_changed_file_raises_an_error_with_both_digests(host, published):
    path = fetch_published(published)
    path.write_bytes(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"{path} has sha256 {other}, but {DIGEST} was recorded"):
        fetch_published(published)


@pytest.mark.parametrize("removed", ["file", "record"])
def test_a_changed_file_can_be_replaced_or_accepted(removed, host, published):
    """The error message offers both: deleting the file, and deleting its record."""
    path = fetch_published(published)
    path.write_bytes(b"other")
    (path if removed == "file" else record_path(path)).unlink()
    assert fetch_published(published).read_bytes() == (CONTENT if removed == "file" else b"other")


def test_a_new_download_must_match_the_first_digest(host, published):
    path = fetch_published(published)
    path.unlink()
    host.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"{DIGEST} was recorded"):
        fetch_published(published)


def test_the_digest_of_a_file_copied_into_the_cache_is_recorded(host, published):
    path = write_cached_file(published)
    assert fetch_published(published) == path
    assert record_path(path).read_text() == DIGEST + "\n"
    assert host.requested_paths == []


def assert_unavailable(spec, cache, reason):
    """Assert that the error gives reason, URL and cache path, and that no file is left."""
    with pytest.raises(WeightsUnavailableError, match=reason) as error:
        fetch_published(spec)
    assert spec.url in str(error.value)
    assert f"put that file at {cached_path(spec)}" in str(error.value)
    assert files_below(cache) == []


def test_an_unreachable_host_raises_an_error(published, cache, monkeypatch):
    # No server listens on port 1.
    monkeypatch.setattr(archs, "RELEASES_URL", "http://127.0.0.1:1/")
    assert_unavailable(published, cache, "refused")


def test_a_missing_checkpoint_raises_an_error(host, published, cache):
    host.status = 404
    assert_unavailable(published, cache, "Not Found")
    gc.collect()  # warns of an open socket here rather than in a later test


def test_a_broken_connection_leaves_no_file(host, published, cache):
    host.content = CONTENT[: len(CONTENT) // 2]
    assert_unavailable(published, cache, f"{len(host.content)} of {len(CONTENT)} bytes")


def test_a_broken_chunked_download_leaves_no_file(host, published, cache):
    host.headers = {"Transfer-Encoding": "chunked"}
    host.content = b"%x\r\n" % len(CONTENT) + CONTENT[: len(CONTENT) // 2]
    assert_unavailable(published, cache, "IncompleteRead")


def test_a_url_that_is_not_http_raises_an_error(published, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(archs, "RELEASES_URL", tmp_path.as_uri() + "/")
    assert_unavailable(published, cache, "No such file")


def test_an_interrupted_download_leaves_no_file(host, published, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_published(published, interrupt)
    assert files_below(cache) == []


def test_the_use_after_a_broken_download_downloads_again(host, published):
    host.content = CONTENT[:10]
    with pytest.raises(WeightsUnavailableError):
        fetch_published(published)
    host.content = CONTENT
    assert fetch_published(published).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_raises_an_error(host, published, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsUnavailableError, match=r"File exists|Not a directory"):
        fetch_published(published)


def test_cache_is_in_the_home_folder_unless_configured(monkeypatch, tmp_path):
    monkeypatch.delenv("PASSTREAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "passtream"


def test_concurrent_first_uses_leave_one_complete_file(host, published, cache):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch_published(published))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = cached_path(published)
    assert paths == [path] * 4
    assert path.read_bytes() == CONTENT
    assert sorted(files_below(cache)) == [path, record_path(path)]


@pytest.fixture(params=["folder", "file uri", "memory"])
def store(request, tmp_path, monkeypatch):
    """An empty model store, named by PASSTREAM_MODELS."""
    if request.param == "memory":
        location = "memory://models/of/ours"
    else:
        folder = tmp_path / "mod els"
        location = str(folder) if request.param == "folder" else folder.as_uri()
    monkeypatch.setenv("PASSTREAM_MODELS", location)
    yield open_store(location)
    fsspec.filesystem("memory").store.clear()


def test_checkpoints_come_from_the_model_store_without_a_request(store, host, published, cache):
    store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    assert path.read_bytes() == CONTENT
    assert host.requested_paths == []
    assert source_of(published) == store.locate("small.pt")
    if store.locate("small.pt").startswith("memory:"):
        assert path == cached_path(published)
        assert record_path(path).read_text() == DIGEST + "\n"
    else:
        assert str(path) == store.locate("small.pt")  # read in place, not copied
        assert files_below(cache) == []


def test_a_checkpoint_missing_from_the_store_is_not_taken_from_the_cache_or_host(
    store, host, published
):
    write_cached_file(published)
    message = rf"not in the model store .*passtream models pull {published.name} --to .*{store}"
    with pytest.raises(WeightsUnavailableError, match=message):
        fetch_published(published)
    assert host.requested_paths == []


@pytest.mark.parametrize("part", ["file", "record"])
def test_a_checkpoint_without_its_file_or_record_is_unavailable(part, store, published):
    store.put("small.pt", CONTENT, DIGEST)
    remove(store, "small.pt" if part == "file" else "small.pt.sha256")
    with pytest.raises(WeightsUnavailableError, match=r"\(no small\.pt"):
        fetch_published(published)


def test_a_file_that_does_not_match_its_record_raises_an_error_with_both_digests(
    store, published, cache
):
    store.put("small.pt", b"other", DIGEST)
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"sha256 {other}, but .* says {DIGEST}.*models pull"):
        fetch_published(published)
    assert files_below(cache) == []


def remove(store, name):
    location = store.locate(name)
    fs, path = fsspec.url_to_fs(location)
    fs.rm_file(path)


@pytest.fixture
def memory_store(monkeypatch):
    monkeypatch.setenv("PASSTREAM_MODELS", "memory://models/")
    yield open_store("memory://models")
    fsspec.filesystem("memory").store.clear()


def test_a_remote_file_is_fetched_once(memory_store, published):
    memory_store.put("small.pt", CONTENT, DIGEST)
    seen = []
    path = fetch_published(published, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    remove(memory_store, "small.pt")  # the record alone is still read
    assert fetch_published(published) == path


def test_a_stale_copy_is_fetched_again(memory_store, published):
    path = write_cached_file(published, b"stale")
    record_path(path).write_text(hashlib.sha256(b"stale").hexdigest())
    memory_store.put("small.pt", CONTENT, DIGEST)
    assert fetch_published(published) == path
    assert path.read_bytes() == CONTENT
    assert record_path(path).read_text() == DIGEST + "\n"


def test_a_damaged_copy_is_fetched_again(memory_store, published):
    memory_store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    path.write_bytes(CONTENT[:-1])
    assert fetch_published(published).read_bytes() == CONTENT


def test_a_damaged_remote_file_leaves_the_copy_unchanged(memory_store, published):
    path = write_cached_file(published, b"stale")
    memory_store.put("small.pt", b"other", DIGEST)
    with pytest.raises(WeightsError, match="says"):
        fetch_published(published)
    assert files_below(path.parent) == [path]
    assert path.read_bytes() == b"stale"


def test_a_copy_from_the_store_is_used_without_the_store(memory_store, published, monkeypatch):
    memory_store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    monkeypatch.delenv("PASSTREAM_MODELS")
    assert fetch_published(published) == path


def test_locate_checkpoints_without_a_store():
    spec, other = ARCHS["openmic"], ARCHS["fsd50k"]
    path = write_cached_file(spec)
    record_path(path).write_text(DIGEST)
    write_cached_file(other)
    found = locate_checkpoints()
    assert found.keys() == ARCHS.keys()
    assert (found["openmic"].state, found["openmic"].sha256) == ("cached", DIGEST)
    assert found["openmic"].location == str(path)
    assert (found["fsd50k"].state, found["fsd50k"].sha256) == ("cached", None)
    assert {found[name].state for name in ARCHS.keys() - {"openmic", "fsd50k"}} == {"absent"}


def test_locate_checkpoints_with_a_store(store):
    spec, half = ARCHS["openmic"], ARCHS["fsd50k"]
    write_cached_file(ARCHS["fsd50k-n"])  # ignored, as in a run
    store.put(spec.file_name, CONTENT, DIGEST)
    store.put(half.file_name, CONTENT, DIGEST)
    remove(store, half.file_name + ".sha256")
    found = locate_checkpoints()
    assert (found["openmic"].state, found["openmic"].sha256) == ("store", DIGEST)
    assert found["openmic"].location == store.locate(spec.file_name)
    assert {found[name].state for name in ARCHS.keys() - {"openmic"}} == {"absent"}


def test_locate_checkpoints_with_a_store_that_does_not_exist_yet(store):
    assert {found.state for found in locate_checkpoints().values()} == {"absent"}


def test_checkpoint_file_names_are_distinct():
    """A store and the cache keep all checkpoints in one folder."""
    assert len({spec.file_name for spec in ARCHS.values()}) == len(ARCHS)
