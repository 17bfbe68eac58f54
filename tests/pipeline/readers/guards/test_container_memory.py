"""Small containers that ask for gigabytes take little memory, in processes of their own."""

import lzma
import tarfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.readers.tar.headers import MOST_NAME_BYTES
from tests.pipeline.readers.tar.hostile_tars import both, header, member, whole
from tests.pipeline.sources.corpora import listed, wav

MEMORY_BYTES = 300 << 20
"""More than a reader of a small container needs, and less than a hostile one asks for."""

PEAK = """
import resource, sys
from tests.pipeline.sources.corpora import listed, read
from pipeline.readers.shard_reader import container_recordings
from tests.pipeline.readers.tar.hostile_tars import looked_at
(container,) = listed(sys.argv[1], format=sys.argv[2]).containers
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found, _ = read(container)
looked_at(container)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
classes = [text.partition(":")[0] for text in found.values()]
print(classes, after - before)
"""


def write_zstd(path, pieces):
    """Write what would be gigabytes, without having them in memory here."""
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        for piece in pieces:
            file.write(piece)


@pytest.mark.parametrize("type_", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_a_gigabyte_in_kilobytes_takes_no_memory(tmp_path, start_python, type_):
    path = tmp_path / "c.tar.zst"
    write_zstd(path, (header("x", 1 << 30, type_), *[bytes(1 << 20)] * 1024))
    assert path.stat().st_size < 1 << 20
    child = start_python(PEAK, path, "tar")
    classes, _, kib = child.communicate()[0].rpartition(" ")
    assert classes == "['damaged_container']"
    assert int(kib) << 10 < MEMORY_BYTES


def test_many_long_names_take_no_memory(tmp_path, start_python):
    """30,000 members whose names have 16 kB each: 500 MB, were they kept."""
    path = tmp_path / "c.tar.zst"
    name = "n" * (MOST_NAME_BYTES - 10)
    block = header("L", MOST_NAME_BYTES, tarfile.GNUTYPE_LONGNAME)
    names = (f"{name}{i:05}.mp3".encode().ljust(MOST_NAME_BYTES, b"\0") for i in range(30_000))
    write_zstd(path, (block + each + header("x", 0) for each in names))
    script = PEAK.replace("read(container)", "{}, [0 for _ in container_recordings(container)]")
    child = start_python(script.replace("looked_at(container)", ""), path, "tar")
    _, _, kib = child.communicate()[0].rpartition(" ")
    assert int(kib) << 10 < MEMORY_BYTES


def test_an_xz_header_that_asks_for_gigabytes_is_damage(tmp_path):
    """A dictionary of 4 GiB; sound ones of up to 64 MiB are what `xz -9` makes."""
    content = bytearray(lzma.compress(whole(member("a.wav", wav()))))
    size = 4 * (content[12] + 1)  # of the block's header: filter LZMA2, one byte of properties
    assert content[14:16] == b"\x21\x01"
    content[16] = 40
    content[8 + size : 12 + size] = zlib.crc32(content[12 : 8 + size]).to_bytes(4, "little")
    path = tmp_path / "c.tar.xz"
    path.write_bytes(content)
    (container,) = listed(path, format="tar").containers
    found, seen = both(container)
    assert seen == {"": "damaged_container"}
    assert "emory usage limit" in found[""]
    path.write_bytes(lzma.compress(whole(member("a.wav", wav())), preset=9))
    (container,) = listed(path, format="tar").containers
    assert both(container)[0] == {"a.wav": wav()}


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_cell_of_hundreds_of_megabytes_in_kilobytes_takes_no_memory(tmp_path, start_python, kind):
    path = tmp_path / f"c.{kind}"
    table = pa.table({"audio": [bytes(400 << 20)]})
    if kind == "parquet":
        pq.write_table(table, path, compression="zstd", use_dictionary=False)
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(path, table.schema, options=options) as writer:
            writer.write_table(table)
    assert path.stat().st_size < 100_000
    child = start_python(PEAK, path, "parquet")
    classes, _, kib = child.communicate()[0].rpartition(" ")
    assert classes == "['damaged_container']"
    assert int(kib) << 10 < MEMORY_BYTES


def test_a_dictionary_of_one_large_value_takes_memory_for_a_few_rows(tmp_path, start_python):
    """64 rows of 30 MB, which were read at once, in a file of a few kilobytes."""
    path = tmp_path / "c.parquet"
    audio = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int8()), [bytes(30 << 20)])
    table = pa.table({"audio": audio})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 20_000
    script = PEAK.replace("read(container)", "{}, [0 for _ in container_recordings(container)]")
    read_all = "n = len([0 for _ in container_recordings(container)])"
    script = script.replace("looked_at(container)", read_all)
    child = start_python(script.replace("classes, after", "n, after"), path, "parquet")
    n, kib = child.communicate()[0].split()
    assert int(n) == 64
    assert int(kib) << 10 < 700 << 20
