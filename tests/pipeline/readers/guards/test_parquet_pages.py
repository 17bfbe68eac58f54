"""`parquet_pages`, `page_headers`, `arrow_guard`: what small files of rows may stand for."""

import io
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.readers.guards import parquet_pages
from pipeline.readers.guards.page_headers import IncompleteError, page_header
from pipeline.readers.intake import Intake
from pipeline.readers.parquet_reader import Part, _opened_batches
from pipeline.readers.shard_reader import container_recordings
from tests.pipeline.sources.corpora import HF_AUDIO, corpus, listed, read, read_all, wav
from tests.support import ROOT

A, B, C = (wav(100 + n, seed=n) for n in range(3))
MIB = 1 << 20


def write(path, table, **options):
    pq.write_table(table, path, **options)
    return path


def container_error(path):
    found, refs = read(listed(path).containers[0])
    return found[refs[-1].member]


@pytest.fixture
def small_limits(monkeypatch):
    """As the real ones, a hundred times smaller."""
    monkeypatch.setattr(parquet_pages, "PLAUSIBLE_BYTES", MIB)
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", MIB)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_sound_files_of_any_writer_are_read_as_before(tmp_path, compression, dictionary, version):
    clips = list(corpus(40).values())
    rows = [{"bytes": each, "path": f"{i}.wav"} for i, each in enumerate(clips)]
    table = pa.table(
        {
            "id": list(range(40)),
            "audio": pa.array(rows, HF_AUDIO),
            "a.b": pa.array([f"text {i % 3}" for i in range(40)]),
            "tags": [["x"] * (i % 4) for i in range(40)],
        }
    )
    path = write(
        tmp_path / "c.parquet",
        table,
        compression=compression,
        use_dictionary=dictionary,
        data_page_version=version,
        data_page_size=4096,
        row_group_size=9,
    )
    found, texts = read_all(path, ("a.b", "tags", "id"), audio_column="audio")
    assert found == {f"row={i}": clip for i, clip in enumerate(clips)}
    assert texts["row=7"] == ("text 1", '["x", "x", "x"]', "7")


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_encodings_of_bytes_are_read_as_before(tmp_path, encoding):
    clips = list(corpus(20).values())
    path = write(
        tmp_path / "c.parquet",
        pa.table({"audio": clips}),
        use_dictionary=False,
        column_encoding={"audio": encoding},
    )
    assert list(read_all(path)[0].values()) == clips


def test_many_rows_of_one_large_value_are_read_one_by_one(tmp_path, small_limits):
    """All of them in one batch would take 40 times what the dictionary does."""
    values = [A, wav(100_000)]
    table = pa.table({"audio": [values[i % 2] for i in range(40)], "n": list(range(40))})
    path = write(tmp_path / "c.parquet", table)
    assert pq.read_metadata(path).row_group(0).column(0).has_dictionary_page
    found, texts = read_all(path, ("n",))
    assert found == {f"row={i}": values[i % 2] for i in range(40)}
    assert [text for (text,) in texts.values()] == [str(i) for i in range(40)]
    batches = [batch.num_rows for batch in _batches(path)]
    assert max(batches) * len(values[1]) <= MIB


def test_fewer_rows_are_read_from_where_they_get_large(tmp_path, monkeypatch):
    """No row is lost or comes twice where the batches get smaller, in and between row groups."""
    monkeypatch.setattr(parquet_pages, "BATCH_BYTES", 8 * MIB)
    clips = [wav(5000 + i, seed=i) for i in range(200)]
    clips[150:156] = [wav(200_000, seed=i) for i in range(6)]
    for group in (70, 200):
        path = write(
            tmp_path / f"{group}.parquet",
            pa.table({"audio": clips}),
            use_dictionary=False,
            data_page_size=1000,
            write_batch_size=1,
            row_group_size=group,
        )
        assert list(read_all(path)[0].values()) == clips
        sizes = [batch.num_rows for batch in _batches(path)]
        assert sizes[0] == 64
        assert max(sizes[-2:]) <= 10


def _batches(path):
    (container,) = listed(path).containers
    with open(path, "rb") as file:
        yield from _opened_batches(file, Part.parse(container.part), ())


@pytest.mark.parametrize("compression", ["zstd", "gzip", "brotli"])
@pytest.mark.parametrize("column", ["audio", "text", "tags"])
def test_a_page_that_stands_for_far_more_than_it_is_is_damage(
    tmp_path, small_limits, column, compression
):
    text = "x" * (4 * MIB)
    columns = {"audio": [A, text.encode()] if column == "audio" else [A, B], "n": [1, 2]}
    columns |= {"text": ["a", text]} if column == "text" else {}
    columns |= {"tags": [["a"], [text]]} if column == "tags" else {}
    for dictionary in (True, False):
        path = write(
            tmp_path / "c.parquet",
            pa.table(columns),
            compression=compression,
            use_dictionary=dictionary,
        )
        listing = listed(path, columns=tuple(columns)[1:])
        found, refs = read(listing.containers[0], listing.columns)
        said = found[refs[-1].member]
        assert said.startswith("damaged_container"), said
        assert "no recording is like this" in said
        # What is not carried is not read either.
        if column != "audio":
            assert list(read(listed(path).containers[0])[0].values()) == [A, B]


def test_lists_of_endless_values_are_damage(tmp_path, small_limits):
    """One row of a million numbers, which are a few bytes; and of many times one long text."""
    for tags in ([7] * 3_000_000, ["x" * 100_000] * 100):
        table = pa.table({"audio": [A], "tags": [tags]})
        path = write(tmp_path / "c.parquet", table, compression="zstd")
        listing = listed(path, columns=("tags",))
        (said,) = read(listing.containers[0], ("tags",))[0].values()
        assert said.startswith("damaged_container"), said


def test_values_of_a_fixed_size_that_is_absurd_are_damage(tmp_path, small_limits):
    table = pa.table({"audio": [A] * 3, "key": pa.array([None] * 3, pa.binary(2 * MIB))})
    path = write(tmp_path / "c.parquet", table)
    (said,) = read(listed(path, columns=("key",)).containers[0], ("key",))[0].values()
    assert "values of 2097152 bytes each" in said
    small = pa.table({"audio": [A] * 3, "key": pa.array([b"x" * 1000] * 3, pa.binary(1000))})
    found, texts = read_all(write(tmp_path / "s.parquet", small), ("key",))
    assert list(found.values()) == [A] * 3
    assert texts["row=2"] == ("x" * 1000,)


def test_a_cell_beyond_the_limit_of_clips_is_that_clips_error(tmp_path):
    path = write(tmp_path / "c.parquet", pa.table({"audio": [A, wav(1000), B]}))
    (container,) = listed(path).containers
    found = list(container_recordings(container, DEFAULT_STORAGE, (), Intake(len(B))))
    with pytest.raises(Exception, match="--max-clip-bytes") as raised:
        found[1].open(1 << 40)
    assert raised.value.error_class == "too_large"
    assert len(found) == 3


# Headers of pages


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_none_and_nothing_else_happens(content):
    try:
        header = page_header(content)
    except (ValueError, IncompleteError):
        return
    assert 0 < header.n_bytes <= len(content)
    assert min(header.uncompressed, header.compressed, header.n_values) >= 0


def test_headers_nested_without_end_are_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        page_header(b"\x9c" + b"\x1c" * 10_000)


def test_a_header_that_is_cut_off_anywhere_goes_on_in_the_next_read(tmp_path):
    """Whatever pieces a file is read in, its pages are found."""
    path = write(tmp_path / "c.parquet", pa.table({"audio": [A, B, C] * 20}), data_page_size=100)
    footer = pq.read_metadata(path)
    content = path.read_bytes()
    for step in (1, 3, 100):
        guard = parquet_pages.PageGuard(io.BytesIO(content))
        guard.watch(footer, [0], {"audio"}, 1)
        (chunk,) = guard._chunks
        guard.seek(chunk.start)
        while guard.tell() < chunk.end:
            guard.read(min(step, chunk.end - guard.tell()))
        assert chunk.header_at == chunk.end
        assert not chunk.rest


# Arrow


def arrow(path, table, stream, compression="zstd"):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)
    return path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_sound_arrow_files_are_read_as_before(tmp_path, stream, compression):
    label = pa.array(["a", "b", None, "a", "b"]).dictionary_encode()
    table = pa.table({"audio": [A, B, C, A, None], "label": label, "n": range(5)})
    path = arrow(tmp_path / "c.arrow", table, stream, compression)
    found, texts = read_all(path, ("label", "n"))
    assert list(found.values())[:4] == [A, B, C, A]
    assert list(texts.values()) == [("a", "0"), ("b", "1"), (None, "2"), ("a", "3"), ("b", "4")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["audio", "label"])
def test_an_arrow_buffer_that_stands_for_far_more_than_it_is_is_damage(
    tmp_path, small_limits, stream, where
):
    large = b"x" * (4 * MIB)
    label = ["a", large.decode() if where == "label" else "b"]
    table = pa.table(
        {
            "audio": [A, large if where == "audio" else B],
            "label": pa.array(label).dictionary_encode(),
        }
    )
    path = arrow(tmp_path / "c.arrow", table, stream)
    (said,) = read(listed(path, columns=("label",)).containers[0], ("label",))[0].values()
    assert said.startswith("damaged_container")
    assert "no recording is like this" in said


def test_large_batches_of_arrow_are_read_a_few_rows_at_once(tmp_path):
    """Texts that a dictionary holds once would be in memory once for each row."""
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int8()), ["x" * MIB])
    table = pa.table({"audio": [A] * 300, "label": label})
    path = tmp_path / "c.arrow"
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    n = 0
    for recording in container_recordings(listed(path).containers[0], DEFAULT_STORAGE, ("label",)):
        assert len(recording.clips[0].carried[0]) == MIB
        n += 1
    assert n == 300


FLIPS_BITS = """
import io, sys
from pipeline.readers.guards.arrow_batches import ARROW_DAMAGE
from pipeline.readers.guards.parquet_batches import open_parquet

whole = open(sys.argv[1], "rb").read()
size = int.from_bytes(whole[-8:-4], "little")
found = 0
for bit in range(8 * size):
    content = bytearray(whole)
    content[len(whole) - 8 - size + bit // 8] ^= 1 << bit % 8
    try:
        footer = open_parquet(io.BytesIO(content)).metadata
        for group in map(footer.row_group, range(footer.num_row_groups)):
            columns = map(group.column, range(group.num_columns))
            found += sum(column.total_compressed_size > 0 for column in columns)
    except ARROW_DAMAGE:
        pass
print(found)
"""


def test_no_bit_of_a_footer_ends_the_process_that_asks_it(tmp_path):
    """Arrow ends it where a column's entry does not fit to the schema."""
    table = pa.table({"audio": [A, None], "text": ["a", "b"]})
    path = write(tmp_path / "c.parquet", table, store_schema=False)
    done = subprocess.run(
        [sys.executable, "-c", FLIPS_BITS, path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_page_or_a_chunk_that_leads_out_of_its_place_is_damage(tmp_path):
    """Arrow makes room for all that a header says, before it reads."""
    path = write(tmp_path / "c.parquet", pa.table({"audio": [A, B]}), use_dictionary=False)
    content = path.read_bytes()
    guard = parquet_pages.PageGuard(io.BytesIO(content))
    footer = pq.ParquetFile(path).metadata
    guard.watch(footer, [0], {"audio"}, 2)
    chunk = guard._chunks[0]
    chunk.begin()
    chunk.end -= 1
    with pytest.raises(ValueError, match="a page is larger than its column chunk"):
        chunk.take(memoryview(content)[chunk.start :], 2)
    cut = parquet_pages.PageGuard(io.BytesIO(content[: chunk.end]))
    with pytest.raises(ValueError, match="a column chunk is not within the file"):
        cut.watch(footer, [0], {"audio"}, 2)
