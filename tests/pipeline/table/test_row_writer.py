"""`pipeline.table.row_writer`: files that every Parquet reader takes, encoded as they should be."""

import json

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.table.row_writer import GROUP_BYTES, ROW_GROUP_ROWS, RowWriter, group_rows, to_table
from pipeline.table.schema import schemas
from pipeline.table_layout import DATA_DIRS, TEMP_DIR

BOTH = {"tables": ("clips", "windows"), "outputs": ("embedding", "logits")}


def vectors(i):
    rng = np.random.default_rng(i)
    return {
        "embedding": rng.normal(size=4).astype(np.float32),
        "logits": rng.normal(size=3).astype(np.float32),
    }


def identity(i):
    return {"clip_id": f"id{i}", "uri": f"/corpus/{i}.wav", "member": "", "source_version": "1-1"}


def clip_row(i):
    return identity(i) | vectors(i) | {
        "start_s": 0.0,
        "member_offset": None,
        "member_bytes": None,
        "duration_s": i / 4,
        "sample_rate_hz": 32_000,
        "channels": 2,
        "arch": "statistics",
        "n_windows": 1,
        "decoded_short": False,
        "rms_dbfs": -20.5,
        "peak_dbfs": -3.25,
        "clipped_ratio": 0.25,
    }  # fmt: skip


def window_row(i):
    row = {"arch": "statistics", "window_index": i, "start_s": i / 4, "end_s": i / 4 + 0.5}
    return identity(0) | vectors(i) | row


def error_row(i):
    return identity(i) | {"stage": "read", "class": "missing", "message": "is not there"}


def add_window(writer, row):
    shared = {name: value for name, value in row.items() if isinstance(value, str)}
    columns = {name: [value] for name, value in row.items() if name not in shared}
    writer.add_block("windows", shared, columns)


@pytest.fixture
def write(new_table):
    """Writes rows to the files of shard `s`; gives the table, the writer and the file sizes."""

    def run(clips=(), windows=(), errors=(), **changes):
        table = new_table(**changes)
        with RowWriter(table.store, table.spec, "s") as writer:
            for name, rows in (("clips", clips), ("errors", errors)):
                for row in rows:
                    writer.add(name, row)
            for row in windows:
                add_window(writer, row)
            files = writer.finish()
        return table, writer, files

    return run


@pytest.fixture
def clips_file(write):
    """A file of 20 clips with all columns."""
    table, _, _ = write(clips=[clip_row(i) for i in range(20)], **BOTH)
    return table.store.path("clips/s.parquet")


def columns(path):
    """Metadata of the first row group's columns, by the path in the schema."""
    metadata = pq.ParquetFile(path).metadata
    group = metadata.row_group(0)
    return {group.column(i).path_in_schema: group.column(i) for i in range(metadata.num_columns)}


def test_files_are_as_many_and_as_big_as_they_are_said_to_be(write):
    rows = [clip_row(i) for i in range(3)]
    table, writer, files = write(rows, [window_row(0)], [error_row(3)], **BOTH)
    assert writer.rows == {"clips": 3, "windows": 1, "errors": 1}
    assert files == {
        f"{folder}/{name}": size
        for folder in DATA_DIRS
        for name, size in table.store.names(folder).items()
    }
    assert len(files) == 3


def test_columns_are_those_asked_for(make_spec):
    def has(**changes):
        return {name: set(schema.names) for name, schema in schemas(make_spec(**changes)).items()}

    assert has().keys() == {"clips", "errors"}
    assert has(**BOTH).keys() == {"clips", "windows", "errors"}
    for outputs in (("embedding",), ("logits",), ("embedding", "logits")):
        spec = {"tables": ("clips", "windows"), "outputs": outputs}
        for table in ("clips", "windows"):
            assert has(**spec)[table] & {"embedding", "logits"} == set(outputs)
        assert not has(**spec)["errors"] & {"embedding", "logits"}


def test_vectors_are_fixed_size_lists_of_the_specs_width(make_spec):
    schema = schemas(make_spec(**BOTH))["clips"]
    for name, width in (("embedding", 4), ("logits", 3)):
        assert schema.field(name).type.list_size == width
        assert schema.field(name).type.value_type == pa.float32()


def test_only_the_place_in_a_container_is_nullable(clips_file):
    schema = pq.read_schema(clips_file)
    place = {"member_offset", "member_bytes"}
    assert {field.name for field in schema if field.nullable} == place
    assert not schema.field("embedding").type.value_field.nullable
    rows = pq.read_table(clips_file)
    assert {name for name in rows.column_names if rows[name].null_count} == place


def test_vectors_are_byte_stream_split_and_zstd(clips_file):
    by_path = columns(clips_file)
    for name in ("embedding", "logits"):
        column = by_path[f"{name}.list.element"]
        assert "BYTE_STREAM_SPLIT" in column.encodings
        assert "PLAIN_DICTIONARY" not in column.encodings
        assert "RLE_DICTIONARY" not in column.encodings
    assert {column.compression for column in by_path.values()} == {"ZSTD"}
    assert "RLE_DICTIONARY" in by_path["arch"].encodings
    assert "RLE_DICTIONARY" not in by_path["clip_id"].encodings


def test_a_page_index_is_written(clips_file):
    assert all(column.has_offset_index for column in columns(clips_file).values())
    assert columns(clips_file)["clip_id"].has_column_index


def test_the_spec_is_in_the_files_metadata(clips_file, make_spec):
    spec = json.loads(pq.read_schema(clips_file).metadata[b"passtream"])
    assert spec == json.loads(json.dumps(make_spec(**BOTH).to_json()))


def test_pyarrow_reads_what_was_written(clips_file):
    rows = pq.read_table(clips_file).to_pylist()
    expected = [clip_row(i) for i in range(20)]
    for row in expected:
        row |= {name: row[name].tolist() for name in ("embedding", "logits")}
    assert rows == expected


def test_pandas_reads_what_was_written(clips_file):
    frame = pd.read_parquet(clips_file)
    assert np.stack(frame["embedding"]).dtype == np.float32
    assert np.stack(frame["embedding"]).tolist() == [
        clip_row(i)["embedding"].tolist() for i in range(20)
    ]
    assert frame["uri"].tolist() == [f"/corpus/{i}.wav" for i in range(20)]


def test_duckdb_searches_what_was_written(clips_file):
    query = clip_row(7)["embedding"]
    (uri, similarity), *_ = duckdb.execute(
        "SELECT uri, array_cosine_similarity(embedding::FLOAT[4], ?::FLOAT[4]) AS similarity "
        f"FROM '{clips_file}' ORDER BY similarity DESC",
        [query.tolist()],
    ).fetchall()
    assert uri == "/corpus/7.wav"
    assert similarity == pytest.approx(1)


def test_windows_go_to_disk_by_row_groups(new_table):
    table = new_table(**BOTH)
    row = window_row(0)
    # Two full row groups and ten rows.
    n_rows = 2 * ROW_GROUP_ROWS + 10
    with RowWriter(table.store, table.spec, "s") as writer:
        for i in range(n_rows):
            add_window(writer, row | {"window_index": i})
            if i == ROW_GROUP_ROWS:
                assert len(table.store.names(TEMP_DIR)) == 1
                assert table.store.names("windows") == {}
        writer.finish()
    file = pq.ParquetFile(table.store.path("windows/s.parquet"))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert [n for n in groups if n] == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 10]
    assert file.read()["window_index"].to_pylist() == list(range(n_rows))
    assert writer.rows["windows"] == n_rows


@pytest.mark.parametrize("n_windows", [0, 1, ROW_GROUP_ROWS + 1])
def test_leaving_early_leaves_nothing(new_table, n_windows):
    table = new_table(**BOTH)

    def leave_early():
        with RowWriter(table.store, table.spec, "s") as writer:
            writer.add("clips", clip_row(0))
            for _ in range(n_windows):
                add_window(writer, window_row(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave_early()
    assert [table.store.names(folder) for folder in (*DATA_DIRS, TEMP_DIR)] == [{}] * 5


def test_tables_that_are_not_asked_for_are_not_written(write):
    table, writer, files = write([clip_row(0)], [window_row(0)])
    assert files.keys() == {"clips/s.parquet"}
    assert writer.rows == {"clips": 1, "errors": 0}
    assert table.store.names("windows") == {}


def test_a_shard_without_rows_has_empty_files(write):
    table, writer, files = write(errors=[error_row(0)], **BOTH)
    assert writer.rows == {"clips": 0, "windows": 0, "errors": 1}
    for name in ("clips", "windows"):
        read = pq.read_table(table.store.path(f"{name}/s.parquet"))
        assert read.num_rows == 0
        assert read.schema == schemas(table.spec)[name]
    assert len(files) == 3


def test_errors_of_an_earlier_try_go(write):
    write(errors=[error_row(0)])
    table, _, files = write([clip_row(0)])
    assert "errors/s.parquet" not in files
    assert table.store.names("errors") == {}


def test_names_of_any_unicode_are_kept(write):
    uri = "/corpus/two\nlines \"quoted\" 'Möwe' 🐦.wav"
    table, _, _ = write([clip_row(0) | {"uri": uri}])
    assert pq.read_table(table.store.path("clips/s.parquet"))["uri"].to_pylist() == [uri]


def test_no_rows_make_an_empty_table(make_spec):
    for schema in schemas(make_spec(**BOTH)).values():
        assert to_table([], schema).num_rows == 0


def add_timestamps(writer, i, n):
    """Adds n timestamps of clip i."""
    index = np.arange(n)
    columns = {
        "timestamp_index": index,
        "timestamp_ms": 5.0 * index,
        "embedding": np.random.default_rng(i).normal(size=(n, 3)).astype(np.float32),
    }
    writer.add_block("timestamps", identity(i) | {"arch": "statistics"}, columns)
    return columns


def test_timestamps_are_read_as_they_were_written(new_table, timestamps):
    table = new_table(**timestamps)
    with RowWriter(table.store, table.spec, "s") as writer:
        given = add_timestamps(writer, 0, 5)
        files = writer.finish()
    assert writer.rows == {"clips": 0, "timestamps": 5, "errors": 0}
    assert files.keys() == {"clips/s.parquet", "timestamps/s.parquet"}
    path = table.store.path("timestamps/s.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["timestamp_index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["timestamp_ms"] for row in rows] == [0, 5, 10, 15, 20]
    assert [row["embedding"] for row in rows] == given["embedding"].tolist()
    assert {row["clip_id"] for row in rows} == {"id0"}
    by_path = columns(path)
    assert "BYTE_STREAM_SPLIT" in by_path["embedding.list.element"].encodings
    assert by_path["timestamp_index"].physical_type == "INT64"


@pytest.mark.parametrize("dropped", [(), (1,), (0, 2), (0, 1, 2)])
def test_blocks_of_a_clip_that_failed_are_taken_back(new_table, timestamps, dropped):
    table = new_table(**timestamps)
    # Three floats of four bytes: ten rows a row group.
    with RowWriter(table.store, table.spec, "s", group_bytes=120) as writer:
        for i in range(3):
            add_timestamps(writer, i, 25)
            if i in dropped:
                writer.drop(f"id{i}")
        writer.finish()
    path = table.store.path("timestamps/s.parquet")
    left = [i for i in range(3) if i not in dropped]
    assert writer.rows["timestamps"] == 25 * len(left)
    ids = pq.read_table(path)["clip_id"].to_pylist()
    assert ids == [f"id{i}" for i in left for _ in range(25)]
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert max(sizes) <= 10


@pytest.mark.parametrize(
    ("width", "rows"),
    # 24 MB: 8192 embeddings of 768, and fewer of wider ones.
    [(3, 8192), (768, 8192), (1295, 4858), (3358, 1873), (10**8, 1)],
)
def test_row_groups_are_bounded_by_rows_and_by_bytes(make_spec, timestamps, width, rows):
    spec = make_spec(**timestamps | {"timestamp_dim": width})
    assert group_rows(schemas(spec)["timestamps"], GROUP_BYTES) == rows


def test_labels_are_lists_of_structs(write, make_spec):
    outputs = {"outputs": ("embedding", "labels"), "top_k": 2}
    labels = [{"index": 2, "name": "c", "probability": 0.75},
              {"index": 0, "name": "a", "probability": 0.5}]  # fmt: skip
    table, _, _ = write(clips=[clip_row(0) | {"labels": labels}], **outputs)
    path = table.store.path("clips/s.parquet")
    assert pq.read_table(path)["labels"].to_pylist() == [labels]
    query = f"SELECT label.name FROM (SELECT unnest(labels) AS label FROM '{path}')"
    assert duckdb.execute(query).fetchall() == [("c",), ("a",)]
    kind = pq.read_schema(path).field("labels")
    assert not kind.nullable
    assert not kind.type.value_field.nullable
    assert [str(field.type) for field in kind.type.value_type] == ["int32", "string", "float"]
    assert "RLE_DICTIONARY" in columns(path)["labels.list.element.name"].encodings
    assert "labels" not in schemas(make_spec())["clips"].names
