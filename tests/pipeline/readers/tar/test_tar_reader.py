"""`pipeline.readers.tar.reader`: members, samples, texts, ranges, and damage of every kind."""

import bz2
import gzip
import io
import os
import tarfile

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.readers.shard_reader import container_recordings
from pipeline.readers.tar import reader
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.pipeline.sources.corpora import listed, read, wav, write_tar

A, B, C = (wav(100 + n, seed=n) for n in range(3))


def container(path):
    (found,) = listed(path, format="tar").containers
    return found


def carried(path, *columns):
    """Texts of each clip by its member."""
    return {ref.member: ref.carried for ref in read(container(path), columns)[1]}


def test_members_in_order_and_what_is_not_audio_left_out(tmp_path):
    members = {
        "b/2.wav": A,
        "b/2.txt": b"",
        "README": b"x",
        "a.MP3": B,
        "x.wav.txt": b"",
        "1.flac": C,
    }
    found, refs = read(container(write_tar(tmp_path / "c.tar", members)))
    assert found == {"b/2.wav": A, "a.MP3": B, "1.flac": C}
    assert {ref.version for ref in refs} == {container(tmp_path / "c.tar").version}


def test_a_range_of_a_plain_tar_is_the_clip(tmp_path):
    path = write_tar(tmp_path / "c.tar", {"a.wav": A, "n" * 200 + "é.wav": B, "a.json": b"{}"})
    content = path.read_bytes()
    _, refs = read(container(path))
    for ref, clip in zip(refs, (A, B), strict=True):
        offset, size = ref.byte_range
        assert content[offset : offset + size] == clip


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "two.gz"])
def test_compressed_tars_have_no_ranges(tmp_path, kind):
    plain = write_tar(tmp_path / "c.tar", {"a.wav": A, "b.wav": B}).read_bytes()
    path = tmp_path / f"c.tar.{kind}"
    if kind == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(plain)
    elif kind == "two.gz":  # as pigz and bgzip write it: one after the other
        path.write_bytes(gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]))
    else:
        write_tar(path, {"a.wav": A, "b.wav": B})
    found, refs = read(container(path))
    assert found == {"a.wav": A, "b.wav": B}
    assert [ref.byte_range for ref in refs] == [None, None]


def test_texts_before_and_after_the_audio(tmp_path):
    members = {
        "a.json": b"1", "a.wav": A, "a.txt": b"first", "b.wav": B, "b.json": b"2",
        "c.left.wav": A, "c.right.wav": B, "c.json": b"\xff3", "c.left.json": b"4",
    }  # fmt: skip
    path = write_tar(tmp_path / "c.tar", members)
    assert carried(path, "txt", "json", "nope") == {
        "a.wav": ("first", "1", None),
        "b.wav": (None, "2", None),
        "c.left.wav": (None, "\ufffd3", None),
        "c.right.wav": (None, "\ufffd3", None),
    }
    assert carried(path, "left.json")["c.right.wav"] == ("4",)


def test_a_text_that_is_too_long_is_null(tmp_path):
    path = write_tar(tmp_path / "c.tar", {"a.wav": A, "a.json": b"1" * (reader.SIDECAR_BYTES + 1)})
    assert carried(path, "json") == {"a.wav": (None,)}


def test_a_sample_without_end_does_not_fill_memory(tmp_path, monkeypatch):
    """All share the name up to the first dot; the texts come at the end."""
    members = {**{f"a.{i}.wav": A for i in range(100)}, "a.json": b"1"}
    path = write_tar(tmp_path / "c.tar", members)
    n_open = []
    for recording in container_recordings(container(path), DEFAULT_STORAGE, ("json",)):
        n_open.append(len(os.listdir("/proc/self/fd")))
        last = recording.clips[0]
    assert len(n_open) == 100
    assert max(n_open) - min(n_open) <= reader.HELD_MEMBERS
    assert last.carried == ("1",)
    monkeypatch.setattr(reader, "HELD_BYTES", 1)
    assert carried(path, "json")["a.99.wav"] == (None,)


def test_large_members_wait_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.readers.container_file._MEMORY_BYTES", len(A))
    path = write_tar(tmp_path / "c.tar", {"a.wav": A, "b.wav": B})
    assert len(B) > len(A)
    assert read(container(path))[0] == {"a.wav": A, "b.wav": B}


def test_a_name_that_comes_again_is_told_apart(tmp_path):
    members = [("a.wav", A), ("a.wav#2", b""), ("a.wav", B), ("b.wav", C), ("a.wav", C)]
    path = write_tar(tmp_path / "c.tar", members)
    found, refs = read(container(path))
    assert found == {"a.wav": A, "a.wav#2": B, "b.wav": C, "a.wav#3": C}
    assert len({ref.clip_id for ref in refs}) == 4


def test_names_of_any_bytes(tmp_path):
    path = tmp_path / "c.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name in (b"caf\xe9.wav", "Möwe.wav".encode(), b"two\nlines.wav"):
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = len(A)
            tar.addfile(info, io.BytesIO(A))
    assert list(read(container(path))[0]) == ["caf%E9.wav", "Möwe.wav", "two\nlines.wav"]


def test_symbolic_links_and_folders_are_passed_over(tmp_path):
    path = tmp_path / "c.tar"
    with tarfile.open(path, "w") as tar:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.wav")
            info.type, info.linkname = kind, "a.wav"
            tar.addfile(info)
        info = tarfile.TarInfo("a.wav")
        info.size = len(A)
        tar.addfile(info, io.BytesIO(A))
    assert read(container(path))[0] == {"a.wav": A}


def test_a_sparse_member_has_its_bytes_and_no_range(tmp_path):
    if os.system("tar --version > /dev/null 2>&1"):
        pytest.skip("GNU tar is needed to write one")
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(A)
        file.seek(1 << 20)
        file.write(B)
    os.system(f"tar -C {tmp_path} --sparse --format=gnu -cf {tmp_path}/c.tar a.wav")
    found, (ref,) = read(container(tmp_path / "c.tar"))
    assert found["a.wav"] == (tmp_path / "a.wav").read_bytes()
    assert (tmp_path / "c.tar").stat().st_size < 1 << 20
    assert ref.byte_range is None


# Damage


def damage_of(path, *expected):
    """What the row for the rest says, where `expected` clips came before."""
    found, refs = read(container(path))
    assert tuple(found)[:-1] == expected
    assert refs[-1].member == ""
    assert found[""].startswith(f"damaged_container: {path}: "), found[""]
    return found[""]


@pytest.fixture
def plain(tmp_path):
    return write_tar(tmp_path / "c.tar", {"a.wav": A, "b.wav": B, "c.wav": C})


def members_at(path):
    with tarfile.open(path) as tar:
        return {info.name: (info.offset, info.offset_data) for info in tar}


def test_a_tar_cut_off_inside_a_member(plain):
    offset = members_at(plain)["b.wav"][1]
    os.truncate(plain, offset + 10)
    said = damage_of(plain, "a.wav")
    assert "damaged after the start of member 'b.wav'" in said
    assert "Fetch the file again" in said


def test_a_tar_cut_off_inside_a_header(plain):
    os.truncate(plain, members_at(plain)["b.wav"][0] + 10)
    damage_of(plain, "a.wav")


def test_a_tar_cut_off_between_members(plain):
    os.truncate(plain, members_at(plain)["c.wav"][0])
    assert "the end mark is missing" in damage_of(plain, "a.wav", "b.wav")


def test_a_tar_with_a_damaged_header(plain):
    content = bytearray(plain.read_bytes())
    content[members_at(plain)["b.wav"][0]] ^= 1
    plain.write_bytes(content)
    assert "bad checksum" in damage_of(plain, "a.wav")


def test_tars_put_together_are_not_read_by_half(plain):
    plain.write_bytes(plain.read_bytes() * 2)
    assert "data after the end mark" in damage_of(plain, "a.wav", "b.wav", "c.wav")


def test_one_block_is_enough_of_an_end_mark(plain):
    end = members_at(plain)["c.wav"][1] + len(C)
    os.truncate(plain, end + -end % 512 + 512)
    assert len(read(container(plain))[0]) == 3


def test_something_else_is_no_tar(tmp_path):
    for content in (
        b"x",
        b"RIFF" + bytes(10_000),
        b"\x1f\x8b" + b"x" * 600,
        b"BZh91AY&SY",
        b"x" * 2000,
    ):
        (tmp_path / "x.tar").write_bytes(content)
        assert "is not a sound tar" in damage_of(tmp_path / "x.tar")


def test_an_empty_file_and_a_missing_one(tmp_path):
    (tmp_path / "x.tar").touch()
    assert read(container(tmp_path / "x.tar"))[0][""].startswith("empty")
    (tmp_path / "y.tar").symlink_to("nowhere")
    assert read(container(tmp_path / "y.tar"))[0][""].startswith("missing")


def test_a_tar_of_nothing_has_no_clips(tmp_path):
    assert read(container(write_tar(tmp_path / "c.tar", {}))) == ({}, [])


def zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, zstd])
def test_compressed_tars_that_are_cut_off_or_flipped(plain, tmp_path, compress):
    content = plain.read_bytes()
    whole = compress(content)
    path = tmp_path / "c.tgz"
    for cut in (len(whole) - 1, len(whole) // 2, 20):
        path.write_bytes(whole[:cut])
        found, _ = read(container(path))
        assert found.pop("").startswith("damaged_container"), cut
        assert found.items() <= {"a.wav": A, "b.wav": B, "c.wav": C}.items()
    if compress is zstd:
        return  # it has a checksum only if its writer asks for one
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    assert read(container(path))[0][""].startswith("damaged_container")


def test_a_tar_that_is_written_into_while_it_is_read(plain):
    stream = container_recordings(container(plain), DEFAULT_STORAGE)
    next(stream)
    os.utime(plain, ns=(1, 1))
    *rest, last = stream
    assert len(rest) == 2
    with pytest.raises(Exception, match="changed since it was listed"):
        last.open(1 << 30)


def test_a_stream_that_is_left_early_leaves_nothing_open(plain):
    before = len(os.listdir("/proc/self/fd"))
    stream = container_recordings(container(plain), DEFAULT_STORAGE, ("json",))
    next(stream)
    stream.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_an_outage_of_the_store_is_no_damage(tmp_path, monkeypatch, kind):
    # 1.2 MB each, so that it takes more than one request, however far its readers read ahead.
    path = write_tar(
        tmp_path / f"c.tar.{kind}".rstrip("."), {f"{i}.wav": wav(300_000) for i in range(2)}
    )
    fsspec.filesystem("memory").pipe("/h4-outage.tar", path.read_bytes())
    monkeypatch.setattr("pipeline.readers.container_file.REQUEST_BYTES", 300)
    impatient = Storage(timeout_s=0)
    (remote,) = list_sources(["memory://h4-outage.tar"], SourceOptions("tar")).containers
    assert len(list(container_recordings(remote, impatient, ("json",)))) == 2
    n_requests, most = [], 0

    def cat_file(self, path, start, end):
        n_requests.append(start)
        if len(n_requests) > most:
            raise ConnectionResetError("gone")
        return self.store[path.removeprefix("memory:/")].getvalue()[start:end]

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    for allowed in (0, 1, 2):
        most = allowed
        n_requests.clear()
        with pytest.raises(StoreError, match=r"h4-outage.tar cannot be read: gone; tried for 0 s"):
            list(container_recordings(remote, impatient, ("json",)))
    n_requests.clear()
    most = 0
    with pytest.raises(StoreError):
        reader.text_endings(remote, impatient)


@given(st.data())
def test_any_flipped_byte_gives_the_clips_or_says_so(tmp_path_factory, data):
    """Bytes of clips may differ, as tars have no checksum of them; none goes missing in silence."""
    path = tmp_path_factory.mktemp("tar") / "c.tar"
    content = bytearray(write_tar(path, {"a.wav": A, "b.wav": A}).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found, _ = read(container(path))
    assert "" in found or len(found) == 2
