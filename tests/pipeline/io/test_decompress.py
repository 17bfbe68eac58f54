"""Tests of `decompress`: whole, concatenated, padded and truncated files, in plan and embed."""

import bz2
import gzip
import io
import lzma

import fsspec
import pyarrow as pa
import pytest

from pipeline.io.decompress import compression_of, open_decompressed
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.planning.survey import survey
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.table.spec import Route, TableSpec
from tests.pipeline.readers.tar.hostile_tars import (
    COMPRESSIONS,
    both,
    compress,
    member,
    whole,
    write,
)
from tests.pipeline.sources.corpora import listed, wav

A, B = wav(32_000), wav(16_000, seed=1)
TAR = whole(member("a.wav", A), member("b.wav", B))
HALF = len(TAR) // 2
SPEC = TableSpec(
    routes=(Route("statistics", 0.01, "random:0", "0" * 64, 320),),
    min_samples=32,
    embedding_dim=4,
    n_classes=3,
    window_s=0.01,
    hop_s=0.005,
)


def zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


def skippable(content, number=0):
    """Return a zstd frame without data; pzstd stores the size of the next frame in such frames."""
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


CONCATENATED = {
    "pzstd.zst": b"".join(
        skippable(len(zstd(each)).to_bytes(4, "little")) + zstd(each)
        for each in (TAR[:HALF], TAR[HALF:])
    ),
    "frames.zst": zstd(TAR[:700]) + zstd(b"") + zstd(TAR[700:]),
    "skipped.zst": skippable(bytes(3_000_000), 15)
    + skippable(b"", 7)
    + zstd(TAR)
    + skippable(b"x"),
    "members.gz": gzip.compress(TAR[:700]) + gzip.compress(b"") + gzip.compress(TAR[700:]),
    "padded.gz": gzip.compress(TAR) + bytes(5000),
    "streams.bz2": bz2.compress(b"") + bz2.compress(TAR[:700]) + bz2.compress(TAR[700:]),
    "streams.xz": lzma.compress(TAR[:700]) + lzma.compress(b"") + lzma.compress(TAR[700:]),
    "padded.xz": lzma.compress(TAR[:700]) + bytes(8) + lzma.compress(TAR[700:]) + bytes(200_000),
}


@pytest.mark.parametrize("name", CONCATENATED)
def test_file_of_several_streams_is_read_as_one(tmp_path, name):
    file = io.BytesIO(CONCATENATED[name])
    compression = compression_of(file)
    assert compression in {"gzip", "bzip2", "xz", "zstd"}
    stream = open_decompressed(file, compression)
    assert b"".join(iter(lambda: stream.read(1000), b"")) == TAR
    path = tmp_path / f"c.tar.{name.rpartition('.')[2]}"
    path.write_bytes(CONCATENATED[name])
    (container,) = listed(path).containers
    assert both(container)[0] == {"a.wav": A, "b.wav": B}


@pytest.mark.parametrize("name", CONCATENATED)
def test_truncated_file_is_damage(tmp_path, name):
    content = CONCATENATED[name].rstrip(b"\0")
    for cut in (12, len(content) // 3, 2 * len(content) // 3, len(content) - 3):
        found, _ = both(write(tmp_path, content[:cut]))
        if name == "skipped.zst" and cut == len(content) - 3:
            continue  # only a skippable frame is cut, so the tar is complete
        assert found.pop("").startswith("damaged_container"), cut
        assert found.items() <= {"a.wav": A, "b.wav": B}.items()


def test_flipped_bit_in_xz_is_damage(tmp_path):
    content = bytearray(lzma.compress(TAR))
    content[len(content) // 2] ^= 1
    assert both(write(tmp_path, bytes(content)))[0][""].startswith("damaged_container")


@pytest.mark.parametrize("where", ["local", "remote"])
@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_plan_counts_clips_and_seconds_of_a_compressed_tar(tmp_path, kind, where):
    container = write(tmp_path, TAR, kind)
    source = container.uri
    if where == "remote":
        source = f"memory://decompress/c.tar.{kind}".rstrip(".")
        fsspec.filesystem("memory").pipe(source, compress(TAR, kind))
    listing = list_sources([source], SourceOptions())
    seen = survey([], listing.containers, SPEC, DEFAULT_STORAGE, lambda *_: 1.0)
    assert (seen.tally.clips, seen.tally.audio_s) == (2, 1.5)
    assert not seen.tally.errors
