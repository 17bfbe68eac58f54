"""Tests of model stores: one contract for folders and URIs, and the errors of failing stores."""

import hashlib

import fsspec
import pytest

from models.checkpoints.model_store import (
    FolderStore,
    RemoteStore,
    is_uri,
    open_store,
    parse_record,
    replacing,
)
from models.errors import WeightsError

# The content is longer than one read.
CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    yield open_store(str(tmp_path / "models") if request.param == "folder" else "memory://models/x")
    fsspec.filesystem("memory").store.clear()


def test_an_empty_store_has_no_files(store):
    assert store.names() == set()
    assert store.recorded_digest("a.pt") is None
    assert store.digest("a.pt") is None


def test_put_stores_the_file_and_its_record(store):
    store.put("a.pt", CONTENT, DIGEST)
    assert store.names() == {"a.pt", "a.pt.sha256"}
    assert store.recorded_digest("a.pt") == store.digest("a.pt") == DIGEST


def test_a_second_put_replaces_the_first(store):
    store.put("a.pt", CONTENT, DIGEST)
    store.put("a.pt", b"other", OTHER)
    assert store.names() == {"a.pt", "a.pt.sha256"}
    assert store.recorded_digest("a.pt") == store.digest("a.pt") == OTHER


def test_a_put_that_fails_before_the_record_leaves_no_checkpoint(store, monkeypatch):
    """The record is written last, so a file with a record is complete."""
    fs = store._fs if isinstance(store, RemoteStore) else None
    n_puts = 0

    def fail_at_second_put(put):
        def counted_put(*args):
            nonlocal n_puts
            n_puts += 1
            if n_puts == 2:
                raise OSError("power cut")
            return put(*args)

        return counted_put

    if fs:
        monkeypatch.setattr(fs, "pipe_file", fail_at_second_put(fs.pipe_file))
    else:
        monkeypatch.setattr(
            "models.checkpoints.model_store.replacing", fail_at_second_put(replacing)
        )
    with pytest.raises(WeightsError, match="cannot be written to: power cut"):
        store.put("a.pt", CONTENT, DIGEST)
    assert store.names() == {"a.pt"}
    assert store.digest("a.pt") == DIGEST
    assert store.recorded_digest("a.pt") is None


def test_a_record_without_a_sha256_raises_an_error(store, tmp_path):
    store.put("a.pt", CONTENT, "unknown")
    with pytest.raises(WeightsError, match=r"a\.pt\.sha256 holds no sha256"):
        store.recorded_digest("a.pt")


@pytest.mark.parametrize(
    "content", [DIGEST, f"{DIGEST}\n", f"{DIGEST}  a.pt\n", f"{DIGEST.upper()} *a.pt\r\n"]
)
def test_records_may_be_the_output_of_sha256sum(content):
    assert parse_record(content.encode(), "a.pt") == DIGEST


@pytest.mark.parametrize("content", [b"", b"\n", DIGEST[:-1].encode(), b"\xff" * 64])
def test_records_of_another_form_are_refused(content):
    with pytest.raises(WeightsError, match="holds no sha256"):
        parse_record(content, "a.pt")


def test_paths_and_file_uris_open_folders_and_other_uris_remote_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    roots = {
        "models": tmp_path / "models",
        "/mnt/models": "/mnt/models",
        "~/models": "/home/someone/models",
        "file:///mnt/our%20models": "/mnt/our models",
    }
    for location, root in roots.items():
        store = open_store(location)
        assert isinstance(store, FolderStore)
        assert str(store) == str(root)
    assert isinstance(open_store("memory://models"), RemoteStore)
    assert is_uri("S3://bucket")
    assert not is_uri("C:/models")


def test_an_unknown_protocol_raises_an_error():
    with pytest.raises(WeightsError, match=r"^nosuch://x, where .* read: Protocol not known"):
        open_store("nosuch://x")


def test_a_file_instead_of_the_folder_raises_an_error(tmp_path):
    (tmp_path / "models").write_text("")
    store = open_store(str(tmp_path / "models"))
    for read in (store.names, lambda: store.recorded_digest("a.pt"), lambda: store.digest("a.pt")):
        with pytest.raises(WeightsError, match=r"cannot be read: .*Not a directory"):
            read()
    with pytest.raises(WeightsError, match=r"cannot be written to: .*(File exists|Not a dir)"):
        store.put("a.pt", CONTENT, DIGEST)


@pytest.mark.parametrize("kind", [PermissionError, RuntimeError, Exception])
def test_errors_of_a_store_are_reported_in_one_line(kind, monkeypatch):
    """Object stores raise error classes of their own, with messages of many lines."""
    store = open_store("memory://models")

    def refuse(*args, **kwargs):
        raise kind("Unable to locate credentials\nand more")

    for method in ("ls", "cat_file", "open", "pipe_file"):
        monkeypatch.setattr(store._fs, method, refuse)
    uses = {
        "read": (store.names, lambda: store.recorded_digest("a"), lambda: store.digest("a")),
        "written to": (lambda: store.put("a", b"", DIGEST),),
    }
    for operation, calls in uses.items():
        for call in calls:
            with pytest.raises(
                WeightsError, match=f"cannot be {operation}: Unable to locate"
            ) as error:
                call()
            assert "\n" not in str(error.value)


def test_a_missing_bucket_cannot_be_written_to(monkeypatch):
    store = open_store("memory://models")

    def refuse(*args):
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(store._fs, "pipe_file", refuse)
    with pytest.raises(WeightsError, match="cannot be written to: The specified bucket"):
        store.put("a.pt", CONTENT, DIGEST)


def test_a_failed_fetch_leaves_no_file(tmp_path):
    store = open_store("memory://models")
    store.put("a.pt", CONTENT, DIGEST)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fetch("a.pt", DIGEST, tmp_path / "a.pt", interrupt)
    with pytest.raises(WeightsError, match=f"has sha256 {DIGEST}, but .* says {OTHER}"):
        store.fetch("a.pt", OTHER, tmp_path / "a.pt")
    with pytest.raises(FileNotFoundError):
        store.fetch("b.pt", DIGEST, tmp_path / "b.pt")
    assert list(tmp_path.iterdir()) == []
    store.fetch("a.pt", DIGEST, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").read_bytes() == CONTENT
    fsspec.filesystem("memory").store.clear()
