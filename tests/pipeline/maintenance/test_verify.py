"""`verify`: a good table passes, and each kind of damage is found and named."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clips import ClipRef
from pipeline.maintenance.repair import repair
from pipeline.maintenance.verify import verify_table
from pipeline.sources.listing import Listing
from pipeline.table.spec import Route
from pipeline.table_layout import COMMITS_DIR, SPEC_NAME, TEMP_DIR, commit_name, data_name

SPEC = {"tables": ("clips", "windows")}
LABELS = {"outputs": ("embedding", "labels"), "top_k": 2}
LENGTHS = (500, 320, 1000)


@pytest.fixture
def clips(tmp_path, write_clip):
    """Three clips that can be embedded and one that is missing."""
    found = [write_clip(tmp_path / f"{i}.wav", n, seed=i) for i, n in enumerate(LENGTHS)]
    return [*found, ClipRef(str(tmp_path / "gone.wav"), "missing")]


@pytest.fixture
def table(new_table, embed, clips):
    """A good table, of one shard."""
    table = new_table(**SPEC)
    embed(table, clips)
    return table


@pytest.fixture
def shard(table):
    (shard,) = table.commits.ids()
    return shard


@pytest.fixture
def damage(table):
    return damaging(table)


def damaging(table):
    """Changes a file's rows, and the commit record as if they had been written so.

    Sizes, and with `counts` the numbers of rows, then agree: what is found is found in the rows.
    """

    def run(name, change, counts=True):
        (shard,) = table.commits.ids()
        file = data_name(name, shard)
        path = table.store.path(file)
        rows = change(pq.read_table(path))
        pq.write_table(rows, path)
        record = json.loads(table.store.read(commit_name(shard)))
        record["files"][file] = path.stat().st_size
        if counts:
            record["rows"][name] = rows.num_rows
        table.store.path(commit_name(shard)).write_text(json.dumps(record))

    return run


def replaced(rows, column, index, value):
    """The rows with one value changed."""
    at = rows.schema.get_field_index(column)
    values = rows[column].to_pylist()
    values[index] = value
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.types[at]))


def drop(rows, index):
    return pa.concat_tables([rows.slice(0, index), rows.slice(index + 1)])


def problem_of(table, source=None):
    """All that is wrong, on one line; and that something is."""
    report = verify_table(table, Listing(source) if source is not None else None)
    assert not report.passed
    assert report.to_json()["passed"] is False
    return " | ".join(report.problems)


def test_a_good_table_passes_and_is_counted(table, clips):
    report = verify_table(table, Listing(clips))
    assert report.problems == report.notes == []
    assert report.passed
    # Windows: 1 + 500 // 160, 1 and 1 + 1000 // 160.
    assert (report.shards, report.clips, report.windows) == (1, 3, 4 + 1 + 7)
    assert report.errors == {"missing": 1}
    assert report.audio_s == pytest.approx(sum(LENGTHS) / 32_000)
    assert report.sample_rates_hz == {32_000: 3}
    assert report.duplicate_vectors == 0
    assert json.loads(json.dumps(report.to_json()))["passed"] is True


@pytest.mark.parametrize(
    "outputs", [("embedding",), ("logits",), ("embedding", "logits"), ("embedding", "labels")]
)
@pytest.mark.parametrize("tables", [("clips",), ("clips", "windows")])
@pytest.mark.parametrize("padding", ["hear", "none"])
def test_good_tables_of_every_kind_pass(new_table, embed, clips, outputs, tables, padding):
    table = new_table(outputs=outputs, tables=tables, padding=padding, top_k=2)
    embed(table, clips, shard_clips=2)
    report = verify_table(table, Listing(clips))
    assert report.problems == []
    assert report.shards == 2


def test_a_row_dropped(table, damage):
    damage("clips", lambda rows: drop(rows, 1), counts=False)
    found = problem_of(table)
    assert "clips has 2 rows, its commit 3" in found
    assert "4 clips went in, 3 came out" in found
    assert "its rows are not of the clips that the shard was made of" in found


def test_a_row_dropped_with_a_record_to_match(table, damage):
    damage("clips", lambda rows: drop(rows, 1))
    assert "4 clips went in, 3 came out" in problem_of(table)


def test_an_error_dropped(table, damage):
    damage("errors", lambda rows: drop(rows, 0))
    assert "4 clips went in, 3 came out" in problem_of(table)


def test_a_row_duplicated(table, damage, clips):
    damage("clips", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]))
    found = problem_of(table)
    assert f"{clips[0].uri!r} is there more than once" in found
    assert "4 clips went in, 5 came out" in found


def test_one_row_in_the_place_of_another(table, damage, clips):
    damage("clips", lambda rows: pa.concat_tables([rows.slice(0, 2), rows.slice(0, 1)]))
    found = problem_of(table)
    assert f"{clips[0].uri!r} is there more than once" in found
    assert "its rows are not of the clips that the shard was made of" in found


@pytest.mark.parametrize("column", ["uri", "member", "source_version", "clip_id"])
def test_a_row_under_another_name(table, damage, column):
    damage("clips", lambda rows: replaced(rows, column, 0, "else"))
    found = problem_of(table)
    if column != "clip_id":
        assert "its rows are not of the clips that the shard was made of" in found
    if column != "source_version":
        assert "clips: clip ids do not belong to their uris" in found


@pytest.mark.parametrize("name", ["clips", "windows"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite(table, damage, name, value):
    damage(name, lambda rows: replaced(rows, "embedding", 0, [0.5, value, 1, 2]))
    assert f"{name}.embedding has NaN or infinite values" in problem_of(table)


@pytest.mark.parametrize("name", ["clips", "windows"])
def test_a_vector_of_zeros(table, damage, name):
    damage(name, lambda rows: replaced(rows, "embedding", 0, [0.0] * 4))
    assert f"{name}.embedding has all-zero vectors" in problem_of(table)


def test_a_window_missing(table, damage, clips):
    damage("windows", lambda rows: drop(rows, 2))
    assert f"windows are not contiguous: clip {clips[0].clip_id} window 2" in problem_of(table)


def test_windows_out_of_order(table, damage):
    damage("windows", lambda rows: pa.concat_tables([rows.slice(1), rows.slice(0, 1)]))
    assert "windows are not contiguous: their order" in problem_of(table)


def test_a_window_at_another_place(table, damage, clips):
    damage("windows", lambda rows: replaced(rows, "end_s", 1, 0.123))
    assert f"clip {clips[0].clip_id} window 1" in problem_of(table)


def test_another_number_of_windows(table, damage, clips):
    damage("clips", lambda rows: replaced(rows, "n_windows", 0, 5))
    found = problem_of(table)
    assert f"clip {clips[0].clip_id} has n_windows 5, its duration makes 4" in found
    assert "clips have 13 windows, its commit 12" in found


def test_another_duration(table, damage, clips):
    damage("clips", lambda rows: replaced(rows, "duration_s", 0, 1.0))
    assert f"clip {clips[0].clip_id} has n_windows 4" in problem_of(table)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("rms_dbfs", np.nan, "rms_dbfs has values that are not finite or below -120"),
        ("peak_dbfs", -np.inf, "peak_dbfs has values that are not finite or below -120"),
        ("peak_dbfs", -60.0, "rms_dbfs is above peak_dbfs"),
        ("clipped_ratio", 1.5, "clipped_ratio has values outside 0 to 1"),
        ("clipped_ratio", np.nan, "clipped_ratio has values outside 0 to 1"),
    ],
)
def test_a_quality_that_cannot_be(table, damage, column, value, told):
    damage("clips", lambda rows: replaced(rows, column, 0, value))
    assert told in problem_of(table)


def test_a_column_of_another_type(table, damage):
    damage("clips", lambda rows: rows.drop_columns(["channels"]))
    assert "does not have the columns of the table's spec" in problem_of(table)


@pytest.mark.parametrize("name", ["clips", "windows", "errors"])
def test_a_file_gone(table, shard, name):
    table.store.delete(data_name(name, shard))
    assert f"shard {shard}: {name}/{shard}.parquet is gone" in problem_of(table)


@pytest.mark.parametrize("name", ["clips", "windows", "errors"])
def test_a_file_cut_off(table, shard, name):
    path = table.store.path(data_name(name, shard))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    found = problem_of(table)
    assert f"{name}/{shard}.parquet has {size // 2} bytes, its commit says {size}" in found


def test_a_file_of_the_right_size_that_is_no_parquet(table, shard):
    path = table.store.path(data_name("clips", shard))
    path.write_bytes(bytes(path.stat().st_size))
    assert f"shard {shard}: " in problem_of(table)


@pytest.mark.parametrize("name", ["clips", "windows", "errors"])
def test_a_file_of_no_shard(table, shard, name):
    content = table.store.read(data_name(name, shard))
    table.store.put_if_absent(data_name(name, "0" * 32), content)
    assert f"{name}/{'0' * 32}.parquet: is of no committed shard" in problem_of(table)


def test_a_persons_own_file_is_reported_and_stays(table, shard):
    """Also under a name that looks like a run's: a record among the rows."""
    content = table.store.read(data_name("clips", shard))
    for name in ("clips/mine.parquet", "clips/notes.txt", f"clips/{shard}.json"):
        table.store.put_if_absent(name, content)
    table.store.put_if_absent(f"{COMMITS_DIR}/mine.json", b"{}")
    report = verify_table(table)
    (problem,) = report.problems
    assert problem.startswith("clips/mine.parquet: is no file of passtream's, but plain readers")
    assert [note.partition(":")[0] for note in report.notes] == [
        f"clips/{shard}.json", "clips/notes.txt", f"{COMMITS_DIR}/mine.json",
    ]  # fmt: skip
    with table.store.lock() as table.commits.hold:
        assert repair(table) == []
    assert table.store.read("clips/mine.parquet") == content
    assert verify_table(table).problems == [problem]


@pytest.mark.parametrize("name", ["windows", "errors"])
def test_a_file_that_its_shards_commit_does_not_name(new_table, embed, write_clip, tmp_path, name):
    table = new_table()
    (record,) = embed(table, [write_clip(tmp_path / "a.wav", 500)])
    assert verify_table(table).passed
    table.store.create((name,))
    table.store.put_if_absent(data_name(name, record.shard), b"of an earlier try")
    assert f"{name}/{record.shard}.parquet: its commit does not name it" in problem_of(table)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"shard": 1', b"\xff"])
def test_a_damaged_commit_record(table, shard, content):
    table.store.path(commit_name(shard)).write_bytes(content)
    assert f"{shard}.json: not a commit record" in problem_of(table)


def test_a_lost_commit_record(table, shard):
    table.store.delete(commit_name(shard))
    found = problem_of(table)
    assert "no shard is committed" in found
    assert f"clips/{shard}.parquet: is of no committed shard" in found


def test_another_shards_record(table, shard, embed, write_clip, tmp_path):
    (other,) = embed(table, [write_clip(tmp_path / "other.wav", 700)])
    content = table.store.read(commit_name(shard))
    table.store.path(commit_name(other.shard)).write_bytes(content)
    assert f"shard {other.shard}: " in problem_of(table)


def test_an_empty_table(new_table):
    assert problem_of(new_table()) == "no shard is committed"


def test_a_table_whose_spec_was_changed(table):
    content = json.loads(table.store.read(SPEC_NAME))
    content["spec"]["routes"][0]["weights_digest"] = "f" * 64
    table.store.path(SPEC_NAME).write_text(json.dumps(content))
    found = problem_of(type(table).read(table.store))
    assert "its rows are not of the clips that the shard was made of" in found


def test_a_clip_in_two_shards(table, embed, clips):
    embed(table, clips[:1])
    twice = f"clips are there more than once, in other shards, too: 1 ({clips[0].uri!r})"
    assert twice in problem_of(table)


def test_a_clip_of_the_source_that_is_not_in_the_table(table, clips):
    new = ClipRef("/corpus/new.wav", "1-1")
    found = problem_of(table, [*clips, new])
    assert found == "clips of the source not in the table: 1 ('/corpus/new.wav')"


def test_a_clip_that_changed_since(table, clips):
    changed = dataclasses.replace(clips[0], version="9-9")
    found = problem_of(table, [changed, *clips[1:]])
    assert found == f"clips changed since they were embedded: 1 ({clips[0].uri!r})"


def test_a_clip_that_left_the_source_is_a_note(table, clips):
    report = verify_table(table, Listing(clips[1:]))
    assert report.passed
    assert report.notes == [f"clips in the table no longer in the source: 1 ({clips[0].uri!r})"]


def test_long_lists_are_cut_short(table, clips):
    new = [ClipRef(f"/corpus/{i}.wav", "1-1") for i in range(7)]
    assert "7 ('/corpus/0.wav', " in problem_of(table, clips + new)
    assert "'/corpus/4.wav', ...)" in problem_of(table, clips + new)
    assert "/corpus/5.wav" not in problem_of(table, clips + new)


def test_duplicates_are_counted_and_noted(new_table, embed, write_clip, tmp_path):
    # Three clips of the same samples, in two shards, and one of others.
    clips = [write_clip(tmp_path / f"{i}.wav", 500) for i in range(3)]
    clips.append(write_clip(tmp_path / "other.wav", 500, seed=1))
    table = new_table()
    embed(table, clips, shard_clips=2)
    report = verify_table(table)
    assert report.passed
    assert report.duplicate_vectors == 2
    assert report.notes == ["2 embeddings equal an earlier clip's"]


def test_temporary_files_are_a_note(table):
    (table.store.path(TEMP_DIR) / "half").touch()
    report = verify_table(table)
    assert report.passed
    assert report.notes == [f"1 temporary file in {TEMP_DIR}; a run is writing, or the next one "
                            "clears them"]  # fmt: skip


@pytest.fixture
def stamped(new_table, embed, clips, timestamps):
    """A good table with timestamps: 1 + n // 160 of a clip of n samples.

    The second clip is padded from 320 to 321.
    """
    windows = {"routes": (Route("statistics", 0.02, "random:0", "0" * 64, 320),), "window_s": 0.02}
    table = new_table(**timestamps, **windows, pad_short=True)
    embed(table, clips)
    return table


def test_a_good_table_of_timestamps_passes_and_is_counted(stamped, clips):
    report = verify_table(stamped, Listing(clips))
    assert report.problems == []
    assert (report.clips, report.timestamps) == (3, 4 + 3 + 7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(lambda rows: drop(rows, 5),
                     "timestamp_index is 2 in place of clip {1} timestamp 1", id="missing"),
        pytest.param(lambda rows: drop(rows, 13),
                     "they end before clip {2} timestamp 6", id="cut"),
        pytest.param(lambda rows: rows.slice(0, 0),
                     "they end before clip {0} timestamp 0", id="none"),
        pytest.param(lambda rows: pa.concat_tables([rows, rows.slice(13)]),
                     "there are more than the 14 of the clips", id="too many"),
        pytest.param(lambda rows: pa.concat_tables([rows.slice(0, 6), rows.slice(5, 8)]),
                     "timestamp_index is 1 in place of clip {1} timestamp 2", id="twice"),
        pytest.param(lambda rows: pa.concat_tables([rows.slice(4), rows.slice(0, 4)]),
                     "clip_id is {1} in place of clip {0} timestamp 0", id="other order"),
        pytest.param(lambda rows: replaced(rows, "timestamp_ms", 3, 15.5),
                     "timestamp_ms is 15.5 in place of clip {0} timestamp 3", id="other time"),
        pytest.param(lambda rows: replaced(rows, "uri", 4, "else"),
                     "uri is else in place of clip {1} timestamp 0", id="other uri"),
        pytest.param(lambda rows: replaced(rows, "arch", 4, "else"),
                     "arch is else in place of clip {1} timestamp 0", id="other arch"),
    ],
)  # fmt: skip
def test_timestamps_that_are_not_where_they_should_be(stamped, clips, change, told):
    damaging(stamped)("timestamps", change)
    ids = [clip.clip_id for clip in clips]
    expected = f"timestamps are not contiguous: {told.format(*ids)}"
    assert expected in problem_of(stamped)


@pytest.mark.parametrize("group_rows", [1, 3, 100])
def test_timestamps_are_checked_in_row_groups_of_any_size(stamped, clips, group_rows):
    (shard,) = stamped.commits.ids()
    path = stamped.store.path(data_name("timestamps", shard))
    rows = pq.read_table(path)

    def write(rows):
        pq.write_table(rows, path, row_group_size=group_rows)
        name = stamped.store.path(commit_name(shard))
        record = json.loads(name.read_bytes())
        record["files"][data_name("timestamps", shard)] = path.stat().st_size
        name.write_text(json.dumps(record))

    write(rows)
    assert verify_table(stamped).passed
    write(replaced(rows, "timestamp_index", 9, 8))
    place = f"clip {clips[2].clip_id} timestamp 2"
    assert f"timestamp_index is 8 in place of {place}" in problem_of(stamped)


@pytest.mark.parametrize(
    ("value", "told"),
    [([0.5, np.nan, 1], "has NaN or infinite values"), ([0.0] * 3, "has all-zero vectors")],
)
def test_timestamps_that_are_no_embeddings(stamped, value, told):
    damaging(stamped)("timestamps", lambda rows: replaced(rows, "embedding", 6, value))
    assert f"timestamps.embedding {told}" in problem_of(stamped)


def test_other_counts_of_timestamps_than_the_commit_says(stamped):
    damaging(stamped)("timestamps", lambda rows: drop(rows, 13), counts=False)
    assert "timestamps has 13 rows, its commit 14" in problem_of(stamped)


def test_an_arch_that_is_not_the_lengths(new_table, embed, tmp_path, write_clip, routed):
    table = new_table(**routed, **SPEC)
    clips = [write_clip(tmp_path / f"{i}.wav", n) for i, n in enumerate((320, 321, 2000))]
    embed(table, clips)
    assert verify_table(table).passed
    damaging(table)("windows", lambda rows: replaced(rows, "arch", 0, "to_30"))
    assert f"not contiguous: clip {clips[0].clip_id} window 0" in problem_of(table)
    damaging(table)("clips", lambda rows: replaced(rows, "arch", 1, "to_10"))
    expected = f"clip {clips[1].clip_id} has arch 'to_10', its duration makes 'to_20'"
    assert expected in problem_of(table)


def label(index, probability):
    return {"index": index, "name": "x", "probability": probability}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([label(0, 0.5)], "has rows with other than 2 labels"),
        ([label(0, 0.5), label(3, 0.25)], "has classes that are none of the 3"),
        ([label(0, 1.5), label(1, 0.25)], "has probabilities outside 0 to 1"),
        ([label(0, float("nan")), label(1, 0.25)], "has probabilities outside 0 to 1"),
        ([label(0, 0.25), label(1, 0.5)], "has labels that are not in order"),
        ([label(1, 0.5), label(1, 0.25)], "has a class twice in one row"),
    ],
)
def test_labels_that_are_none(new_table, embed, clips, labels, told):
    table = new_table(**LABELS, tables=("clips", "windows"))
    embed(table, clips)
    assert verify_table(table).passed
    for name in ("clips", "windows"):
        damaging(table)(name, lambda rows: replaced(rows, "labels", 0, labels))
        assert f"{name}.labels {told}" in problem_of(table)


VERIFY = """
import json, os, sys
from pipeline.table.store.local import LocalStore
from pipeline.maintenance.repair import repair
from pipeline.sources.listing import Listing
from pipeline.table.table import Table
from pipeline.maintenance.verify import verify_table

table = Table.read(LocalStore(sys.argv[1]))
before = os.listdir("/proc/self/task")
report = verify_table(table, Listing())
clips = [clip for shard in table.commits.ids() for clip in table.clips_of(shard)]
print(json.dumps([report.clips, len(clips), len(os.listdir("/proc/self/task")) - len(before)]))
"""


def test_no_thread_of_arrows_is_left_that_could_abort_the_process(
    new_table, embed, write_clip, tmp_path, timestamps, start_python
):
    """Without errors: the rows of `errors` are then read from bytes of Python's."""
    table = new_table(**timestamps | {"tables": ("clips", "windows", "timestamps")})
    embed(table, [write_clip(tmp_path / "a.wav", 1000)])
    done = start_python(VERIFY, table.store.location)
    assert done.stdout.readline() == "[1, 1, 0]\n"
    done.communicate()
    assert done.returncode == 0
