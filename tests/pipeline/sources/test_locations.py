"""Tests of `pipeline.sources.locations`: folders, links and stores.

The tests of the formats cover the rest.
"""

import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import StoreError, UsageError
from pipeline.io.storage import Storage
from pipeline.readers.apple_double import APPLE_DOUBLE_KIND
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations


def find_uris(*locations, **options):
    files = Locations(list(map(str, locations)), (".x", ".x.gz"), SourceOptions(**options)).files()
    return sorted(file.uri for file in files)


def test_folders_are_searched_recursively_and_loops_of_links_end(tmp_path):
    for name in ("b/2.x", "a.X.gz", "b/c/3.x", "b/other.gz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert [os.path.relpath(uri, tmp_path) for uri in find_uris(tmp_path)] == [
        "a.X.gz",
        "b/2.x",
        "b/c/3.x",
    ]
    assert (find_uris(tmp_path, exclude=("b/c/*",), include=("b/*",))) == [f"{tmp_path}/b/2.x"]


def test_names_with_any_bytes_become_file_uris(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.x")
    with open(path, "w"):
        pass
    (uri,) = find_uris(tmp_path)
    assert uri == f"file://{tmp_path}/caf%E9.x"
    assert find_uris(uri) == [uri]


def test_metadata_of_macos_in_a_store_is_skipped_and_counted():
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


def test_errors_of_a_store_name_the_source(monkeypatch):
    fsspec.filesystem("memory").pipe("/locations/a.x", b"1")

    def make_find_raise(error):
        def find(self, path, **_):
            raise error

        monkeypatch.setattr(MemoryFileSystem, "find", find)

    storage = Storage(timeout_s=0)
    make_find_raise(ConnectionResetError("gone"))
    with pytest.raises(StoreError, match=r"cannot be listed: gone"):
        find_uris("memory://locations/a.x", storage=storage)
    make_find_raise(PermissionError("not yours"))
    with pytest.raises(UsageError, match=r"no permission to list it \(not yours\)"):
        find_uris("memory://locations/a.x", storage=storage)
