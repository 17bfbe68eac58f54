"""`pipeline.sources.locations`: folders, links and stores; more is tried with the formats."""

import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import StoreError, UsageError
from pipeline.io.storage import Storage
from pipeline.readers.apple_double import APPLE_DOUBLE_KIND
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations


def found(*locations, **options):
    files = Locations(list(map(str, locations)), (".x", ".x.gz"), SourceOptions(**options)).files()
    return sorted(file.uri for file in files)


def test_folders_are_walked_down_and_loops_of_links_end(tmp_path):
    for name in ("b/2.x", "a.X.gz", "b/c/3.x", "b/other.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert [os.path.relpath(uri, tmp_path) for uri in found(tmp_path)] == [
        "a.X.gz",
        "b/2.x",
        "b/c/3.x",
    ]
    assert (found(tmp_path, exclude=("b/c/*",), include=("b/*",))) == [f"{tmp_path}/b/2.x"]


def test_names_of_any_bytes_and_file_uris(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.x")
    with open(path, "w"):
        pass
    (uri,) = found(tmp_path)
    assert uri == f"file://{tmp_path}/caf%E9.x"
    assert found(uri) == [uri]


def test_metadata_of_macos_in_a_store_is_passed_over_and_counted():
    files = fsspec.filesystem("memory")
    files.pipe({
        "/mac/a.x": b"1234",
        "/mac/._a.x": b"\x00\x05\x16\x07more",
        "/mac/sub/._own.x": b"1234",
        "/mac/sub/._s.x": b"12",
        "/mac/__MACOSX/b.x": b"1234",
        "/mac/.Trashes/501/c.x": b"1234",
    })  # fmt: skip
    locations = Locations(["memory://mac"], (".x",), SourceOptions())
    assert sorted(file.uri for file in locations.files()) == [
        "memory://mac/a.x",
        "memory://mac/sub/._own.x",
        "memory://mac/sub/._s.x",
    ]
    assert locations.skipped == {APPLE_DOUBLE_KIND: 1, "__MACOSX/": 1, ".Trashes/": 1}


def test_what_a_store_does_not_give(monkeypatch):
    fsspec.filesystem("memory").pipe("/locations/a.x", b"1")

    def fails(error):
        def find(self, path, **_):
            raise error

        monkeypatch.setattr(MemoryFileSystem, "find", find)

    storage = Storage(timeout_s=0)
    fails(ConnectionResetError("gone"))
    with pytest.raises(StoreError, match=r"cannot be listed: gone"):
        found("memory://locations/a.x", storage=storage)
    fails(PermissionError("not yours"))
    with pytest.raises(UsageError, match=r"no permission to list it \(not yours\)"):
        found("memory://locations/a.x", storage=storage)
