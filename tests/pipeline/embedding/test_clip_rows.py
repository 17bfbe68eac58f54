"""`pipeline.embedding.clip_rows`: every column of a clip's rows, without decoder or batches."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.clips import ClipRef
from pipeline.decode.quality import Quality
from pipeline.embedding.clip_rows import ClipRows
from pipeline.stream.events import ClipDone, ClipFailed, TimestampBlock
from pipeline.table.row_writer import RowWriter

REF = ClipRef("/corpus/a.tar", "1-2", "b.wav", byte_range=(512, 99), carried=("cat", None))
IDENTITY = {
    "clip_id": REF.clip_id,
    "uri": "/corpus/a.tar",
    "member": "b.wav",
    "source_version": "1-2",
}
QUALITY = Quality(rms_dbfs=-20.5, peak_dbfs=-3.25, clipped_ratio=0.25)
# 480 samples at 32 kHz: 15 ms, which windows of 10 ms every 5 ms see at 0, 5, 10 and 15 ms.
DONE = ClipDone(0, 480, 4, 44_100, 2, decoded_short=True, quality=QUALITY)


@pytest.fixture
def rows_of(new_table, model):
    """Has rows written; gives what the files then hold, and the attribute `vectors`."""

    def run(write, **spec):
        table = new_table(**spec)
        with RowWriter(table.store, table.spec, "s") as writer:
            rows = ClipRows(table.spec, model, writer)
            write(rows)
            files = writer.finish()
        read = {name.split("/")[0]: pq.read_table(table.store.path(name)) for name in files}
        return {name: found.to_pylist() for name, found in read.items()}, rows.vectors

    return run


def floats(*values):
    return np.array(values, np.float32)


def test_what_is_known_of_a_clip_is_in_its_row(rows_of):
    means = {"embedding": floats(1, 2, 3, 4)}
    found, vectors = rows_of(
        lambda rows: rows.write_clip(REF, DONE, means, []), columns=("kind", "place")
    )
    assert vectors == ["embedding"]
    assert found["clips"] == [
        IDENTITY
        | {
            "start_s": 0.0,
            "member_offset": 512,
            "member_bytes": 99,
            "duration_s": 0.015,
            "sample_rate_hz": 44_100,
            "channels": 2,
            "arch": "statistics",
            "n_windows": 4,
            "decoded_short": True,
            "rms_dbfs": -20.5,
            "peak_dbfs": -3.25,
            "clipped_ratio": 0.25,
            "kind": "cat",
            "place": None,
            "embedding": [1, 2, 3, 4],
        }
    ]


def test_a_part_of_a_recording_starts_where_it_does_and_lies_nowhere(rows_of):
    part = ClipRef("/a.wav", "1-1", "t=1.5,2.0", span=(1.5, 2.0))
    means = {"embedding": floats(1, 2, 3, 4)}
    found, _ = rows_of(lambda rows: rows.write_clip(part, DONE, means, []), columns=("kind",))
    (row,) = found["clips"]
    assert (row["start_s"], row["member_offset"], row["member_bytes"], row["kind"]) == (
        1.5, None, None, None,
    )  # fmt: skip


def test_windows_have_their_spans(rows_of):
    windows = [{"embedding": floats(i, i, i, i)} for i in range(4)]
    found, _ = rows_of(
        lambda rows: rows.write_clip(REF, DONE, windows[0], windows),
        tables=("clips", "windows"), columns=("kind", "place"),
    )  # fmt: skip
    columns = ("window_index", "start_s", "end_s", "arch", "embedding")
    # Centred on 0, 5, 10 and 15 ms; what is of the reflection is not of the clip.
    assert [tuple(row[name] for name in columns) for row in found["windows"]] == [
        (0, 0.0, 0.005, "statistics", [0] * 4),
        (1, 0.0, 0.010, "statistics", [1] * 4),
        (2, 0.005, 0.015, "statistics", [2] * 4),
        (3, 0.010, 0.015, "statistics", [3] * 4),
    ]
    assert all(IDENTITY.items() <= row.items() for row in found["windows"])


@pytest.mark.parametrize("outputs", [("embedding", "labels"), ("embedding", "logits", "labels")])
def test_labels_are_those_of_the_logits_which_need_not_be_columns(rows_of, outputs):
    vectors = {"embedding": floats(1, 2, 3, 4), "logits": floats(0, 3, -1)}
    found, of_model = rows_of(
        lambda rows: rows.write_clip(REF, DONE, vectors, [vectors] * 4),
        tables=("clips", "windows"), outputs=outputs, top_k=2, columns=("kind", "place"),
    )  # fmt: skip
    assert of_model == ["embedding", "logits"]
    # The logistic function of 3 and of 0.
    labels = [(1, "last", 1 / (1 + np.exp(-3))), (0, "first", 0.5)]
    assert (len(found["clips"]), len(found["windows"])) == (1, 4)
    for row in found["clips"] + found["windows"]:
        assert ("logits" in row) == ("logits" in outputs)
        assert [(each["index"], each["name"]) for each in row["labels"]] == [
            (index, name) for index, name, _ in labels
        ]
        probabilities = [each["probability"] for each in row["labels"]]
        assert probabilities == pytest.approx([p for _, _, p in labels])


def test_timestamps_count_from_their_block(rows_of, timestamps):
    block = TimestampBlock(0, 7, 2, floats())
    found, _ = rows_of(
        lambda rows: rows.write_timestamps(REF, block, floats((1, 2, 3), (4, 5, 6))), **timestamps
    )
    columns = ("timestamp_index", "timestamp_ms", "arch", "embedding")
    assert [tuple(row[name] for name in columns) for row in found["timestamps"]] == [
        (7, 35.0, "statistics", [1, 2, 3]),
        (8, 40.0, "statistics", [4, 5, 6]),
    ]


def test_a_clip_that_failed_leaves_its_error_and_no_timestamp(rows_of, timestamps):
    def write(rows):
        rows.write_timestamps(REF, TimestampBlock(0, 0, 1, floats()), floats((1, 2, 3)))
        rows.write_error(REF, ClipFailed(0, "decode", "truncated", "is cut off"))

    found, _ = rows_of(write, **timestamps)
    assert found["clips"] == found["timestamps"] == []
    error = {"stage": "decode", "class": "truncated", "message": "is cut off"}
    assert found["errors"] == [IDENTITY | error]
