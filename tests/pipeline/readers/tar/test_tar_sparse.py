"""`pipeline.readers.tar.headers`: sparse members of every version, and of none that makes sense."""

import os
import resource
import tarfile

import pytest

from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.readers.intake import Intake
from pipeline.readers.lazy_reader import lazy_recordings
from pipeline.readers.shard_reader import container_recordings
from pipeline.readers.tar.sparse import MOST_EXTENTS
from tests.pipeline.readers.tar.hostile_tars import (
    COMPRESSIONS,
    block_with,
    both,
    header,
    member,
    pax,
    whole,
    with_old_sparse,
    with_pax_sparse,
    write,
)
from tests.pipeline.sources.corpora import listed, wav

A, B = wav(100), wav(120, seed=1)


@pytest.mark.parametrize(
    "version", ["gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix"]
)
def test_sparse_members_of_every_version_have_their_bytes(tmp_path, version):
    if os.system("tar --version > /dev/null 2>&1"):
        pytest.skip("GNU tar is needed to write one")
    with (tmp_path / "a.wav").open("wb") as file:
        for i in range(30):  # more parts than fit in one header
            file.seek(i << 16)
            file.write(A)
        file.truncate(3 << 20)
    (tmp_path / "b.wav").write_bytes(B)
    os.system(f"tar -C {tmp_path} -S --format={version} -cf {tmp_path}/c.tar a.wav b.wav")
    assert (tmp_path / "c.tar").stat().st_size < 1 << 20
    (container,) = listed(tmp_path / "c.tar", format="tar").containers
    found, seen = both(container)
    assert seen == {"a.wav": "sound", "b.wav": "sound"}
    assert found == {name: (tmp_path / name).read_bytes() for name in found}


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("sparse", [with_pax_sparse, with_old_sparse])
def test_a_sparse_member_that_stands_for_too_much_is_its_own_error(tmp_path, kind, sparse):
    size = 3 << 30
    arguments = (A,) if sparse is with_pax_sparse else ([(0, len(A))], A)
    content = whole(sparse("a.wav", size, *arguments), member("b.wav", B))
    found, seen = both(write(tmp_path, content, kind))
    assert seen == {"a.wav": "too_sparse", "b.wav": "sound"}
    assert f"of {size} bytes, of which the tar stores {len(A)}" in found["a.wav"]


@pytest.mark.parametrize("columns", [(), ("json",)])
def test_a_member_beyond_the_limit_is_its_own_error_and_never_written(tmp_path, columns):
    """By its size in the header, sparse or not; no file of this process may be so large."""
    content = whole(
        with_pax_sparse("a.wav", 900 << 20, A),
        header("b.wav", 80 << 20) + bytes(80 << 20),
        member("c.wav", B),
    )
    container = write(tmp_path, content, "gz")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        found = list(container_recordings(container, DEFAULT_STORAGE, columns, Intake(1 << 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [each.clips[0].member for each in found] == ["a.wav", "b.wav", "c.wav"]
    for each in found[:2]:
        with pytest.raises(Exception, match="raise --max-clip-bytes") as raised:
            each.open(1 << 40)
        assert raised.value.error_class == "too_large"


def test_holes_of_a_sparse_member_take_no_space(tmp_path):
    container = write(tmp_path, whole(with_old_sparse("a.wav", 500 << 20, [(0, len(A))], A)))
    for look in (lazy_recordings, container_recordings):
        for recording in look(container, DEFAULT_STORAGE):
            with recording.open(1 << 40) as file:
                status = os.fstat(file.fileno())
                assert status.st_size == 500 << 20
                assert status.st_blocks * 512 < 8 << 20
                assert file.read(len(A)) == A


@pytest.mark.parametrize(
    "extents",
    [
        [(100, 50), (0, 50)],
        [(0, 100), (50, 100)],
        [(0, 1000)],
        [(1 << 20, 10)],
        [(0, 10), (5000, 300)],
    ],
)
def test_a_sparse_map_that_makes_no_sense_is_damage(tmp_path, extents):
    """Backwards, overlapping, of more bytes than are stored, or behind the end."""
    content = whole(member("a.wav", A), with_old_sparse("b.wav", 5100, extents, B[:200]))
    assert both(write(tmp_path, content))[1] == {"a.wav": "sound", "": "damaged_container"}


def test_a_sparse_map_without_end_is_damage(tmp_path):
    block = header("b.wav", 0, tarfile.GNUTYPE_SPARSE)
    endless = block_with(block, 482, b"\1") + (b"\x30" * 504 + b"\1" + bytes(7)) * (
        MOST_EXTENTS // 21 + 2
    )
    ones = "\n".join(["1"] * 200).encode() + b"\n"
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    many = pax(records) + member("b.wav", f"{MOST_EXTENTS + 1}\n".encode() + ones)
    no_lines = pax(records) + member("b.wav", b"1" * 5000)
    a_map = {"GNU.sparse.size": "1", "GNU.sparse.map": "0,1," * (MOST_EXTENTS + 1)}
    for bad in (endless, many, no_lines, pax(a_map) + member("b.wav", b"x")):
        content = whole(member("a.wav", A), bad)
        assert both(write(tmp_path, content))[1] == {"a.wav": "sound", "": "damaged_container"}
