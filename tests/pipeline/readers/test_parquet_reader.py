"""`parquet_reader` and `parquet_layout`: rows, texts, and damage."""

import datetime
import decimal
import os

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StoreError, UsageError
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.readers import parquet_layout
from pipeline.readers.parquet_reader import Part
from pipeline.readers.shard_reader import container_recordings
from pipeline.sources.list_sources import list_sources
from tests.pipeline.sources.corpora import (
    HF_AUDIO,
    corpus,
    listed,
    read,
    read_all,
    wav,
    write_parquet,
)

A, B, C = (wav(100 + n, seed=n) for n in range(3))


def arrow(path, table, batch=2, stream=False):
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


@given(st.text(), st.none() | st.tuples(st.integers(0), st.integers(0)), st.integers(0))
def test_a_part_is_read_back(column, groups, first_row):
    part = Part(column, groups, first_row if groups else 0)
    assert Part.parse(str(part)) == part


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_a_plain_binary_column_is_found(tmp_path, kind):
    table = pa.table({"name": ["a", "b"], "sound": pa.array([A, B], kind)})
    pq.write_table(table, tmp_path / "c.parquet")
    assert read_all(tmp_path / "c.parquet")[0] == {"row=0": A, "row=1": B}


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_files_and_streams(tmp_path, stream):
    rows = [{"bytes": each, "path": "x"} for each in (A, B, C)]
    table = pa.table({"n": [1, 2, 3], "audio": pa.array(rows, HF_AUDIO), "t": ["x", None, "z"]})
    path = arrow(tmp_path / "c.arrow", table, stream=stream)
    (container,) = listed(path).containers
    assert (container.part, container.n_clips) == ("column=audio", None)
    found, texts = read_all(path, ("t", "n"))
    assert found == {"row=0": A, "row=1": B, "row=2": C}
    assert texts == {"row=0": ("x", "1"), "row=1": (None, "2"), "row=2": ("z", "3")}


def test_values_as_text(tmp_path):
    columns = {
        "text": ["é", None],
        "int": [3, None],
        "float": [0.1, float("nan")],
        "float32": pa.array([0.1, None], pa.float32()),
        "bool": [True, False],
        "list": [["a", "b"], []],
        "struct": [{"x": 1, "at": datetime.date(2020, 1, 2)}, None],
        "date": [datetime.date(2020, 1, 2), None],
        "time": pa.array([datetime.datetime(2020, 1, 2, 3), None], pa.timestamp("ns")),
        "decimal": [decimal.Decimal("1.50"), None],
        "category": pa.array(["x", None]).dictionary_encode(),
        "raw": [b"\xffabc", None],
    }
    table = pa.table({"audio": pa.array([{"bytes": A, "path": None}] * 2, HF_AUDIO), **columns})
    pq.write_table(table, tmp_path / "c.parquet")
    _, texts = read_all(tmp_path / "c.parquet", tuple(columns))
    first, second = (dict(zip(columns, texts[f"row={i}"], strict=True)) for i in range(2))
    assert first == {
        "text": "é",
        "int": "3",
        "float": "0.1",
        "float32": "0.1",
        "bool": "true",
        "list": '["a", "b"]',
        "struct": '{"x": 1, "at": "2020-01-02"}',
        "date": "2020-01-02",
        "time": "2020-01-02 03:00:00.000000000",
        "decimal": "1.50",
        "category": "x",
        "raw": "\ufffdabc",
    }
    assert {name: text for name, text in second.items() if text is not None} == {
        "float": "nan",
        "bool": "false",
        "list": "[]",
    }


def test_files_whose_columns_differ(tmp_path):
    write_parquet(tmp_path / "0.parquet", {"a": A}, label=["x"])
    write_parquet(tmp_path / "1.parquet", {"b": B}, more=[1], label=["y"])
    listing = listed(tmp_path, columns=("more", "label"))
    texts = [read(c, listing.columns)[1][0].carried for c in listing.containers]
    assert texts == [(None, "x"), ("1", "y")]


def test_rows_without_bytes_are_errors(tmp_path):
    rows = [{"bytes": None, "path": "a.wav"}, None, {"bytes": b"", "path": None}, {"bytes": A}]
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"audio": pa.array(rows, HF_AUDIO)}), path)
    found, _ = read_all(path)
    assert found["row=0"] == (
        f"no_bytes: {path} row=0: holds no bytes, only the path 'a.wav'; embed the files it names "
        "themselves"
    )
    assert found["row=1"].startswith("no_bytes")
    assert found["row=2"].startswith("empty")
    assert found["row=3"] == A


# Damage


@pytest.fixture
def parquet(tmp_path):
    """Three row groups of two rows, each a container of its own."""
    path = write_parquet(tmp_path / "c.parquet", corpus(6), row_group=2)
    write_parquet(tmp_path / "sound.parquet", corpus(1))
    return path


def test_a_damaged_row_group_is_one_row_and_the_others_stay(parquet, monkeypatch):
    monkeypatch.setattr(parquet_layout, "GROUP_ROWS", 2)
    chunk = pq.read_metadata(parquet).row_group(1).column(0)
    content = bytearray(parquet.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    parquet.write_bytes(content)
    found, _ = read_all(parquet)
    part = "groups=1-1 from row=2;column=audio"
    assert found.keys() == {"row=0", "row=1", part, "row=4", "row=5"}
    assert found[part].startswith(f"damaged_container: {parquet}: damaged at or after row 2")


def test_a_file_without_its_footer_is_one_row(parquet):
    os.truncate(parquet, 1000)
    (container, other) = listed(parquet.parent).containers
    found, (ref,) = read(container)
    assert found[""].startswith("damaged_container")
    assert ref.member == ""
    assert len(read(other)[0]) == 1
    with pytest.raises(UsageError, match=r"c.parquet: is neither Parquet nor Arrow"):
        listed(parquet)


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_that_was_cut_off(tmp_path, stream):
    table = pa.table({"audio": [A, B, C]})
    path = arrow(tmp_path / "c.arrow", table, batch=1, stream=stream)
    arrow(tmp_path / "sound.arrow", table)
    whole = path.read_bytes()
    n_found = []
    for cut in (8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        found, refs = read(listed(tmp_path).containers[0])
        assert found[refs[-1].member].startswith("damaged_container"), found
        n_found.append(len(found) - 1)
    assert n_found == [0, 1, 3]


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_whose_offsets_are_damaged(tmp_path, stream):
    path = arrow(tmp_path / "c.arrow", pa.table({"audio": [A, B, C]}), batch=3, stream=stream)
    offsets = np.cumsum([0, len(A), len(B), len(C)]).astype("<i4")
    content = path.read_bytes()
    assert content.count(offsets.tobytes()) == 1
    for damage in (-1, len(A) - 1000, 1 << 30):
        damaged = offsets.copy()
        damaged[2] = damage
        path.write_bytes(content.replace(offsets.tobytes(), damaged.tobytes()))
        found, _ = read(listed(path).containers[0])
        assert list(found) == ["column=audio"]
        assert found["column=audio"].startswith("damaged_container")


def test_an_outage_of_the_store_is_no_damage(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.readers.container_file.REQUEST_BYTES", 300)
    clips = {str(i): wav(3000, seed=i) for i in range(4)}
    store = fsspec.filesystem("memory")
    table = pa.table({"audio": list(clips.values())})
    paths = [
        write_parquet(tmp_path / "o.parquet", clips),
        arrow(tmp_path / "o.arrow", table, batch=1),
        arrow(tmp_path / "s.arrow", table, batch=1, stream=True),
    ]
    for path in paths:
        store.pipe(f"/h4/{path.name}", path.read_bytes())
    real, n_left = MemoryFileSystem.cat_file, 1 << 60

    def cat_file(self, path, start=None, end=None):
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise ConnectionResetError("gone")
        return real(self, path, start, end)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    impatient = Storage(timeout_s=0)
    try:
        for path in paths:
            (container,) = list_sources([f"memory://h4/{path.name}"]).containers
            n_left = 1 << 60
            assert read(container)[0] == {f"row={i}": c for i, c in enumerate(clips.values())}
            for n_allowed in range((1 << 60) - n_left):
                n_left = n_allowed
                with pytest.raises(StoreError, match=r"gone; tried for 0 s"):
                    list(container_recordings(container, impatient))
            n_left = 1 << 60
    finally:
        store.rm("/h4", recursive=True)


def test_reading_stops_where_the_stream_is_left(parquet):
    (container,) = listed(parquet).containers
    before = len(os.listdir("/proc/self/fd"))
    stream = container_recordings(container, DEFAULT_STORAGE)
    next(stream)
    stream.close()
    assert len(os.listdir("/proc/self/fd")) == before
