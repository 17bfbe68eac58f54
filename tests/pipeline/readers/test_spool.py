"""`spool`, and that a fault of this machine's disk never becomes that of a clip."""

import contextlib
import os
import resource
import subprocess
import tempfile

import fsspec
import pytest

from pipeline.clips import ClipRef, path_to_uri
from pipeline.errors import HostError
from pipeline.io.objects import FsspecObject
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.io.versions import file_version
from pipeline.readers import container_file
from pipeline.readers.clip_file import open_clip
from pipeline.readers.download import download
from pipeline.readers.shard_reader import clip_recording, container_recordings
from pipeline.readers.spool import Spool, spool
from pipeline.sources.list_sources import list_sources
from tests.pipeline.readers.tar.hostile_tars import (
    compress,
    looked_at,
    member,
    whole,
    with_old_sparse,
)
from tests.pipeline.sources.corpora import listed, wav, write_parquet, write_tar

SMALL, LARGE = wav(100), wav(600_000, seed=1)
MEMORY = ("pipeline.readers.container_file._MEMORY_BYTES", "pipeline.readers.download.MEMORY_BYTES")


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """TMPDIR on a disk of 1 MB, and all that is held goes there."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]).returncode:
        pytest.skip("mounting a small disk takes root")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in MEMORY:
        monkeypatch.setattr(name, 0)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def limit(kind, most):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextlib.contextmanager
def no_descriptors():
    """What is open stays open, and nothing more can be."""
    with open(os.devnull) as file:
        lowest = file.fileno()
    with limit(resource.RLIMIT_NOFILE, lowest):
        yield


def containers_in(folder):
    """A sound container of each kind, of a small clip and then one larger than the disk."""
    clips = {"a.wav": SMALL, "b.wav": LARGE, "c.wav": SMALL}
    plain = write_tar(folder / "c.tar", clips)
    for kind in ("gz", "zst"):
        (folder / f"c.tar.{kind}").write_bytes(compress(plain.read_bytes(), kind))
    write_parquet(folder / "c.parquet", clips)
    half = len(LARGE) // 2
    parts = [(0, half), (2 * half, half)]
    sparse = whole(member("a.wav", SMALL), with_old_sparse("b.wav", 3 * half, parts, LARGE))
    (folder / "sparse.tar").write_bytes(sparse)
    names = ("c.tar", "c.tar.gz", "c.tar.zst", "c.parquet", "sparse.tar")
    return [container for name in names for container in listed(folder / name).containers]


@pytest.mark.parametrize("columns", [(), ("json",)])
def test_a_full_disk_is_never_the_fault_of_a_containers_clip(tmp_path, full_disk, columns):
    for container in containers_in(tmp_path):
        with pytest.raises(HostError, match=rf"no space left in {full_disk} \(TMPDIR\)"):
            list(container_recordings(container, DEFAULT_STORAGE, columns))


def test_a_full_disk_is_no_fault_of_a_clip_in_plan(tmp_path, full_disk):
    for container in containers_in(tmp_path):
        if container.uri.endswith("/c.tar"):
            continue  # of which planning holds nothing
        with pytest.raises(HostError, match="TMPDIR"):
            looked_at(container)


def test_a_full_disk_is_never_the_fault_of_a_remote_clip(full_disk):
    store = fsspec.filesystem("memory")
    uri = "memory://spool/b.wav"
    store.pipe(uri, LARGE)
    try:
        ref = ClipRef(uri, FsspecObject(uri, DEFAULT_STORAGE).version)
        with pytest.raises(HostError, match=rf"no space left in {full_disk} \(TMPDIR\)"):
            download(ref, DEFAULT_STORAGE)
        (found,) = list_sources([uri]).clips
        with pytest.raises(HostError), clip_recording(found).open(1 << 40):
            pass
    finally:
        store.rm("/spool", recursive=True)


def test_no_descriptors_left_is_never_the_fault_of_a_clip(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(SMALL)
    ref = ClipRef(path_to_uri(str(path)), file_version(str(path)))
    (tar,) = listed(write_tar(tmp_path / "c.tar", {"a.wav": SMALL, "b.wav": SMALL})).containers
    store = fsspec.filesystem("memory")
    store.pipe("memory://spool/b.wav", SMALL)
    (remote,) = list_sources(["memory://spool/b.wav"]).clips
    said = "no file descriptors left"
    with no_descriptors():
        with pytest.raises(HostError, match=said), open_clip(ref, DEFAULT_STORAGE, 1 << 40):
            pass
        with pytest.raises(HostError, match=said):
            container_file.spool_to_file([SMALL], len(SMALL))
        with pytest.raises(HostError, match=said):
            download(remote, DEFAULT_STORAGE)
        with pytest.raises(HostError, match=said):
            list(container_recordings(tar))
    store.rm("/spool", recursive=True)


def test_a_file_that_may_not_grow_is_a_fault_of_this_machine():
    """What the operating system says (EFBIG here, or EIO) is passed on, and TMPDIR named."""
    said = r"\(TMPDIR\) cannot be written: File too large"
    with limit(resource.RLIMIT_FSIZE, 1 << 20), pytest.raises(HostError, match=said):
        spool([LARGE], None, 0)


def test_no_folder_for_temporary_files_is_a_fault_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(HostError, match="TMPDIR"):
        Spool(None, 0)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "gone")])
    with pytest.raises(HostError, match="no folder for temporary files"):
        Spool(None, 0)


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
def test_zeros_come_back_and_take_no_space(memory_bytes):
    zeros = bytes(3 << 20)
    content = b"\0a" + zeros + b"b\0" + zeros
    pieces = [memoryview(content)[:5], content[5:100], memoryview(content)[100:]]
    with spool(pieces, len(content), memory_bytes) as file:
        assert file.read() == content
        assert os.fstat(file.fileno()).st_blocks * 512 < 5 << 20
    with spool([], 0, memory_bytes) as file:
        assert file.read() == b""


def test_what_is_not_finished_leaves_nothing_open():
    def broken():
        yield b"x"
        raise EOFError

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EOFError):
        spool(broken(), 10, 0)
    assert len(os.listdir("/proc/self/fd")) == before
