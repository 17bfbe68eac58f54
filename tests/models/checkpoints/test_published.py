"""Downloads from a real HTTP server on this machine, and the cache they go to."""

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

# More than one chunk of a download, and not a whole number of them.
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


def put_by_hand(spec, content: bytes = CONTENT) -> Path:
    path = cached_path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def record_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_first_use_downloads_and_records(host, published, cache):
    path = fetch_published(published)
    assert path == cache / "checkpoints" / "small.pt"
    assert path.read_bytes() == CONTENT
    assert record_of(path).read_text() == DIGEST + "\n"
    assert sorted(files_below(cache)) == [path, record_of(path)]
    assert host.asked == ["/v1/small.pt"]


def test_second_use_does_not_ask_the_host(host, published):
    first = fetch_published(published)
    assert fetch_published(published) == first
    assert len(host.asked) == 1


def test_progress_goes_up_to_the_whole(host, published):
    seen = []
    fetch_published(published, lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1][0] == len(CONTENT)
    assert {total for _, total in seen} == {len(CONTENT)}


def test_progress_without_a_length_has_no_whole(host, published):
    host.headers = {}
    seen = []
    path = fetch_published(published, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(CONTENT), None)
    assert path.read_bytes() == CONTENT


def test_a_changed_file_is_refused_with_both_digests(host, published):
    path = fetch_published(published)
    path.write_bytes(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(WeightsError, match=f"{path} has sha256 {other}, but {DIGEST} was recorded"):
        fetch_published(published)


@pytest.mark.parametrize("removed", ["file", "record"])
def test_a_changed_file_can_be_put_right(removed, host, published):
    """Both ways out that the error names."""
    path = fetch_published(published)
    path.write_bytes(b"other")
    (path if removed == "file" else record_of(path)).unlink()
    assert fetch_published(published).read_bytes() == (CONTENT if removed == "file" else b"other")


def test_a_new_download_is_held_to_the_first_digest(host, published):
    path = fetch_published(published)
    path.unlink()
    host.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"{DIGEST} was recorded"):
        fetch_published(published)


def test_a_file_put_there_by_hand_is_recorded(host, published):
    path = put_by_hand(published)
    assert fetch_published(published) == path
    assert record_of(path).read_text() == DIGEST + "\n"
    assert host.asked == []


def assert_unavailable(spec, cache, reason):
    """The error says why, from where, and where to put the file; nothing is left behind."""
    with pytest.raises(WeightsUnavailableError, match=reason) as error:
        fetch_published(spec)
    assert spec.url in str(error.value)
    assert f"put that file at {cached_path(spec)}" in str(error.value)
    assert files_below(cache) == []


def test_an_unreachable_host_is_told(published, cache, monkeypatch):
    # Port 1 of this machine: nothing listens there.
    monkeypatch.setattr(archs, "RELEASES_URL", "http://127.0.0.1:1/")
    assert_unavailable(published, cache, "refused")


def test_an_absent_checkpoint_is_told(host, published, cache):
    host.status = 404
    assert_unavailable(published, cache, "Not Found")
    gc.collect()  # a socket left open is a warning here, and not in some later test


def test_a_cut_connection_leaves_nothing(host, published, cache):
    host.content = CONTENT[: len(CONTENT) // 2]
    assert_unavailable(published, cache, f"{len(host.content)} of {len(CONTENT)} bytes")


def test_a_cut_chunked_download_leaves_nothing(host, published, cache):
    host.headers = {"Transfer-Encoding": "chunked"}
    host.content = b"%x\r\n" % len(CONTENT) + CONTENT[: len(CONTENT) // 2]
    assert_unavailable(published, cache, "IncompleteRead")


def test_what_is_no_http_is_told(published, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(archs, "RELEASES_URL", tmp_path.as_uri() + "/")
    assert_unavailable(published, cache, "No such file")


def test_an_interrupted_download_leaves_nothing(host, published, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_published(published, interrupt)
    assert files_below(cache) == []


def test_after_a_cut_the_next_use_downloads_again(host, published):
    host.content = CONTENT[:10]
    with pytest.raises(WeightsUnavailableError):
        fetch_published(published)
    host.content = CONTENT
    assert fetch_published(published).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_told(host, published, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(WeightsUnavailableError, match=r"File exists|Not a directory"):
        fetch_published(published)


def test_cache_is_in_the_home_folder_unless_configured(monkeypatch, tmp_path):
    monkeypatch.delenv("PASSTREAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "passtream"


def test_two_first_uses_at_once_leave_one_whole_file(host, published, cache):
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(fetch_published(published))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = cached_path(published)
    assert done == [path] * 4
    assert path.read_bytes() == CONTENT
    assert sorted(files_below(cache)) == [path, record_of(path)]


@pytest.fixture(params=["folder", "file uri", "memory"])
def store(request, tmp_path, monkeypatch):
    """The model store that PASSTREAM_MODELS names, empty."""
    if request.param == "memory":
        location = "memory://models/of/ours"
    else:
        folder = tmp_path / "mod els"
        location = str(folder) if request.param == "folder" else folder.as_uri()
    monkeypatch.setenv("PASSTREAM_MODELS", location)
    yield open_store(location)
    fsspec.filesystem("memory").store.clear()


def test_the_store_is_taken_and_the_internet_left_alone(store, host, published, cache):
    store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    assert path.read_bytes() == CONTENT
    assert host.asked == []
    assert source_of(published) == store.locate("small.pt")
    if store.locate("small.pt").startswith("memory:"):
        assert path == cached_path(published)
        assert record_of(path).read_text() == DIGEST + "\n"
    else:
        assert str(path) == store.locate("small.pt")  # in place, and not copied
        assert files_below(cache) == []


def test_what_the_store_lacks_is_not_taken_from_elsewhere(store, host, published):
    put_by_hand(published)
    told = rf"not in the model store .*passtream models pull {published.name} --to .*{store}"
    with pytest.raises(WeightsUnavailableError, match=told):
        fetch_published(published)
    assert host.asked == []


@pytest.mark.parametrize("part", ["file", "record"])
def test_half_of_a_checkpoint_is_none(part, store, published):
    store.put("small.pt", CONTENT, DIGEST)
    remove(store, "small.pt" if part == "file" else "small.pt.sha256")
    with pytest.raises(WeightsUnavailableError, match=r"\(no small\.pt"):
        fetch_published(published)


def test_a_file_unlike_its_record_is_told_with_both_digests(store, published, cache):
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
    remove(memory_store, "small.pt")  # its record is what is asked for
    assert fetch_published(published) == path


def test_a_stale_copy_is_fetched_again(memory_store, published):
    path = put_by_hand(published, b"stale")
    record_of(path).write_text(hashlib.sha256(b"stale").hexdigest())
    memory_store.put("small.pt", CONTENT, DIGEST)
    assert fetch_published(published) == path
    assert path.read_bytes() == CONTENT
    assert record_of(path).read_text() == DIGEST + "\n"


def test_a_damaged_copy_is_fetched_again(memory_store, published):
    memory_store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    path.write_bytes(CONTENT[:-1])
    assert fetch_published(published).read_bytes() == CONTENT


def test_a_damaged_remote_file_leaves_the_copy_as_it_was(memory_store, published):
    path = put_by_hand(published, b"stale")
    memory_store.put("small.pt", b"other", DIGEST)
    with pytest.raises(WeightsError, match="says"):
        fetch_published(published)
    assert files_below(path.parent) == [path]
    assert path.read_bytes() == b"stale"


def test_a_copy_from_the_store_serves_without_it(memory_store, published, monkeypatch):
    memory_store.put("small.pt", CONTENT, DIGEST)
    path = fetch_published(published)
    monkeypatch.delenv("PASSTREAM_MODELS")
    assert fetch_published(published) == path


def test_whereabouts_without_a_store():
    spec, other = ARCHS["openmic"], ARCHS["fsd50k"]
    path = put_by_hand(spec)
    record_of(path).write_text(DIGEST)
    put_by_hand(other)
    found = locate_checkpoints()
    assert found.keys() == ARCHS.keys()
    assert (found["openmic"].state, found["openmic"].sha256) == ("cached", DIGEST)
    assert found["openmic"].location == str(path)
    assert (found["fsd50k"].state, found["fsd50k"].sha256) == ("cached", None)
    assert {found[name].state for name in ARCHS.keys() - {"openmic", "fsd50k"}} == {"absent"}


def test_whereabouts_with_a_store(store):
    spec, half = ARCHS["openmic"], ARCHS["fsd50k"]
    put_by_hand(ARCHS["fsd50k-n"])  # a run would not take it
    store.put(spec.file_name, CONTENT, DIGEST)
    store.put(half.file_name, CONTENT, DIGEST)
    remove(store, half.file_name + ".sha256")
    found = locate_checkpoints()
    assert (found["openmic"].state, found["openmic"].sha256) == ("store", DIGEST)
    assert found["openmic"].location == store.locate(spec.file_name)
    assert {found[name].state for name in ARCHS.keys() - {"openmic"}} == {"absent"}


def test_whereabouts_of_a_store_that_is_not_made_yet(store):
    assert {found.state for found in locate_checkpoints().values()} == {"absent"}


def test_checkpoints_have_names_of_their_own():
    """A store and the cache keep them in one folder."""
    assert len({spec.file_name for spec in ARCHS.values()}) == len(ARCHS)
