"""`pipeline.readers.parquet_layout`: which column is the audio, and which rows make a container."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.readers import parquet_layout
from tests.pipeline.sources.corpora import HF_AUDIO, corpus, listed, read_all, wav, write_parquet

A, B = wav(100), wav(101, seed=1)


def test_rows_are_counted_through_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_layout, "GROUP_ROWS", 6)
    clips = corpus(11)
    path = write_parquet(tmp_path / "c.parquet", clips, row_group=3)
    containers = listed(path).containers
    # Groups of 3, 3, 3 and 2 rows; two make 6.
    assert [(c.part, c.n_clips) for c in containers] == [
        ("groups=0-1 from row=0;column=audio", 6),
        ("groups=2-3 from row=6;column=audio", 5),
    ]
    found, _ = read_all(path)
    assert found == {f"row={i}": content for i, content in enumerate(clips.values())}


def test_a_container_ends_with_its_bytes_of_audio(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_layout, "GROUP_BYTES", 3 * len(wav(3000)))
    path = write_parquet(
        tmp_path / "c.parquet",
        {str(i): wav(3000, seed=i) for i in range(8)},
        row_group=1,
        other=[b"x" * 100_000] * 8,
    )
    assert [c.n_clips for c in listed(path).containers] == [3, 3, 2]


def find(**columns):
    metadata = columns.pop("metadata", None)
    schema = pa.schema(columns, {"huggingface": metadata} if metadata else None)
    return parquet_layout.find_audio("x.parquet", schema)


def test_the_column_is_found():
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert find(a=pa.string(), b=pa.binary()) == "b"
    assert find(a=pa.binary(), b=HF_AUDIO) == "b"
    said = '{"info": {"features": {"a": {"_type": "Image"}, "b": {"_type": "Audio"}}}}'
    assert find(a=image, b=HF_AUDIO, metadata=said) == "b"


@pytest.mark.parametrize("metadata", ["x", "[]", '{"info": {"features": {"a": 1}}}', "{}"])
def test_strange_metadata_says_nothing(metadata):
    assert find(a=HF_AUDIO, metadata=metadata) == "a"


def test_a_column_that_cannot_be_told_is_refused():
    with pytest.raises(UsageError, match=r"may be in column a, b; name it by --audio-column"):
        find(a=HF_AUDIO, b=HF_AUDIO)
    with pytest.raises(UsageError, match=r"may be in column a, b; name it by --audio-column"):
        find(a=pa.binary(), b=pa.large_binary())
    with pytest.raises(UsageError, match=r"no column can be audio.* are: a \(string\)"):
        find(a=pa.string())


def test_a_column_that_is_named(tmp_path):
    rows = pa.array([{"bytes": B, "path": None}], HF_AUDIO)
    pq.write_table(pa.table({"a": [A], "b": rows, "c": ["x"]}), tmp_path / "c.parquet")
    assert read_all(tmp_path / "c.parquet", audio_column="a")[0] == {"row=0": A}
    assert read_all(tmp_path / "c.parquet")[0] == {"row=0": B}
    with pytest.raises(UsageError, match="audio_column 'd' is not there; the columns are: a, b, c"):
        listed(tmp_path, audio_column="d")
    with pytest.raises(UsageError, match="audio_column 'c' is string; audio is binary"):
        listed(tmp_path, audio_column="c")
