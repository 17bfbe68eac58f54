"""Downloads from a real HTTP server on this machine, and the cache they go to."""

import gc
import hashlib
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models import archs
from models.errors import WeightsError, WeightsUnavailableError
from models.published import cache_dir, cached_path, fetch_published

# More than one chunk of a download, and not a whole number of them.
CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Host:
    """What the server sends, and what it was asked for."""

    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Length": str(len(CONTENT))})
    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def host(monkeypatch):
    """A host of checkpoints in place of GitHub's releases."""
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host.asked.append(self.path)
            self.send_response(host.status)
            for name, value in {**host.headers, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(host.content)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing it waits for its last answer

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(archs, "RELEASES_URL", f"http://127.0.0.1:{server.server_port}/")
        yield host
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no proxy between us and our own host."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
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
