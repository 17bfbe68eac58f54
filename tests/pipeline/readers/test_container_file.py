"""`container_file`: files in stores read by ranges, and bytes that are held for a decoder."""

import io
import os
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError, StoreError
from pipeline.io.objects import FsspecObject
from pipeline.io.range_file import open_range_file
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.readers import container_file
from pipeline.readers.container_file import open_container, spool_to_file

CONTENT = bytes(range(256)) * 4
URI = "memory://containers/x.bin"


@pytest.fixture(scope="module", autouse=True)
def store():
    store = fsspec.filesystem("memory")
    store.pipe(URI, CONTENT)
    yield store
    store.rm("/containers", recursive=True)


def listed(uri=URI):
    return Container(uri, FsspecObject(uri, DEFAULT_STORAGE).version)


@given(
    st.lists(st.tuples(st.integers(-50, 1100), st.integers(0, 2), st.integers(0, 600)), max_size=8),
    st.integers(1, 300),
    st.booleans(),
)
def test_a_remote_file_reads_as_a_local_one(moves, buffer_bytes, reads_on):
    local = io.BytesIO(CONTENT)
    found = FsspecObject(URI, DEFAULT_STORAGE)
    remote = open_range_file(found.size, found.range, buffer_bytes, reads_on)
    for offset, whence, n_bytes in moves:
        if whence == os.SEEK_SET:
            offset = max(0, offset)
        if local.tell() + offset >= 0 and len(CONTENT) + offset >= 0:
            assert remote.seek(offset, whence) == local.seek(offset, whence)
        assert remote.read(n_bytes) == local.read(n_bytes)
        assert remote.tell() == local.tell()


def reading(fetch):
    """A file of 100-byte requests, and the ranges asked for, with the thread that did."""
    asked = []

    def noted(start, end):
        asked.append((start, end, threading.current_thread()))
        return fetch(start, end)

    return open_range_file(len(CONTENT), noted, 100, read_ahead=True), asked


def test_who_reads_on_finds_the_next_range_fetched():
    started, go = threading.Event(), threading.Event()

    def fetch(start, end):
        if start == 200:
            started.set()
            assert go.wait(60)
        return CONTENT[start:end]

    file, asked = reading(fetch)
    assert file.read(150) == CONTENT[:150]
    assert started.wait(60)  # before anybody asks for it
    assert file.read(50) == CONTENT[150:200]
    go.set()
    assert file.read() == CONTENT[200:]
    assert [start for start, _, _ in asked][:3] == [0, 100, 200]
    covered = [i for start, end, _ in asked for i in range(start, end)]
    assert sorted(covered) == list(range(len(CONTENT)))  # nothing twice
    here = threading.current_thread()
    assert [thread is here for _, _, thread in asked[:3]] == [True, True, False]


def test_who_reads_here_and_there_fetches_nothing_ahead():
    file, asked = reading(lambda start, end: CONTENT[start:end])
    for offset in (900, 0, 500, 300):
        file.seek(offset)
        assert file.read(10) == CONTENT[offset : offset + 10]
    assert len(asked) == 4


def test_a_range_fetched_ahead_fails_where_it_is_read():
    def fetch(start, end):
        if start == 200:
            raise ConnectionResetError("gone")
        return CONTENT[start:end]

    file, _ = reading(fetch)
    assert file.read(200) == CONTENT[:200]
    with pytest.raises(ConnectionResetError):
        file.read(1)
    file.seek(300)
    assert file.read(10) == CONTENT[300:310]


def test_a_request_is_made_again(monkeypatch):
    real, calls = MemoryFileSystem.cat_file, []

    def cat_file(self, path, start=None, end=None):
        calls.append((start, end))
        if len(calls) == 1:
            raise ConnectionResetError("gone")
        content = real(self, path, start, end)
        return content[:-1] if len(calls) == 2 else content  # a body that was cut off

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    with open_container(listed(), DEFAULT_STORAGE) as file:
        assert file.read() == CONTENT
    assert calls == [(0, len(CONTENT))] * 3


def test_an_outage_wins_over_what_the_reader_makes_of_it(monkeypatch):
    def cat_file(self, path, start=None, end=None):
        raise ConnectionResetError("gone")

    container = listed()
    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)

    def read():
        with open_container(container, Storage(timeout_s=0)) as file:
            try:
                file.read()
            except StoreError as error:
                raise ValueError("the format is wrong") from error

    with pytest.raises(StoreError, match=rf"{URI} cannot be read: gone"):
        read()


def error_class(container):
    with pytest.raises(ClipError) as raised, open_container(container, DEFAULT_STORAGE) as file:
        file.read()
    assert container.uri in str(raised.value)
    return raised.value.error_class


def test_what_is_wrong_with_a_container(store, tmp_path):
    assert error_class(Container("memory://containers/nowhere", "1")) == "missing"
    assert error_class(Container(URI, "1")) == "changed"
    store.pipe("memory://containers/empty", b"")
    assert error_class(listed("memory://containers/empty")) == "empty"
    assert error_class(Container(str(tmp_path / "x"), "1")) == "missing"


def test_a_remote_container_that_changes_while_it_is_read(store):
    uri = "memory://containers/changing"
    store.pipe(uri, b"1")
    container = listed(uri)
    with pytest.raises(ClipError, match="changed"), open_container(container, DEFAULT_STORAGE):
        store.pipe(uri, b"22")


@pytest.mark.parametrize("limit", [5, 6])
def test_bytes_are_held_in_memory_or_on_disk(monkeypatch, limit):
    monkeypatch.setattr(container_file, "_MEMORY_BYTES", limit)
    with spool_to_file([b"abc", memoryview(b"def")], 6) as file:
        where = os.readlink(f"/dev/fd/{file.fileno()}")
        assert ("memfd" in where) == (limit >= 6)
        assert Path(f"/dev/fd/{file.fileno()}").read_bytes() == b"abcdef"
        with container_file.rewound(ClipRef("x", "1"), file, 6) as opened:
            assert opened.read() == b"abcdef"
        assert not file.closed


def test_a_member_beyond_the_limit_is_refused():
    with (
        spool_to_file([b"abcdef"], 6) as file,
        pytest.raises(ClipError, match="6 bytes, more than the 5"),
        container_file.rewound(ClipRef("x", "1", "a.wav"), file, 5),
    ):
        pass
