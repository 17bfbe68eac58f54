"""`pipeline.table.table`: made once, refused to others, and the records that make shards count."""

import dataclasses
import json
import re
import time

import pytest

from pipeline.clips import ClipRef
from pipeline.errors import StoreError, UsageError
from pipeline.table.commit_record import CommitRecord
from pipeline.table.spec import Route
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from pipeline.table_layout import META_DIR, SPEC_NAME, commit_name, data_name

SHARD = "5" * 32
RECORD = CommitRecord(
    shard=SHARD,
    clips=3,
    rows={"clips": 2, "errors": 1},
    errors={"missing": 1},
    audio_s=1.5,
    windows=4,
    files={"clips/5.parquet": 100},
)


def test_a_new_table_is_made_and_then_opened(new_table, make_spec):
    made = new_table()
    before = made.store.read(SPEC_NAME)
    opened = new_table(routes=(Route("statistics", 0.01, "custom", "0" * 64, 320),))
    assert made.spec == opened.spec == Table.read(made.store).spec == make_spec()
    assert made.store.read(SPEC_NAME) == before
    assert made.commits.ids() == set()


def test_another_spec_is_refused_with_the_field_named(new_table):
    new_table()
    with pytest.raises(UsageError, match=re.escape("(table, this run): hop_s: 0.005, 0.01. Run")):
        new_table(hop_s=0.01)


def test_a_folder_of_other_files_is_refused(new_table, tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex"):
        new_table()
    assert [path.name for path in (tmp_path / "table").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_becomes_a_table(new_table, tmp_path):
    (tmp_path / "table").mkdir()
    assert new_table().commits.ids() == set()


def test_a_table_whose_making_was_killed_is_made(new_table):
    new_table().store.delete(SPEC_NAME)
    assert new_table(hop_s=0.01).spec.hop_s == 0.01


def test_a_file_in_the_way_is_refused(new_table, tmp_path):
    (tmp_path / "table").write_text("mine")
    with pytest.raises(UsageError, match="table: is a file"):
        new_table()
    assert (tmp_path / "table").read_text() == "mine"


def test_no_table(tmp_path):
    assert Table.read(LocalStore(tmp_path)) is None
    assert Table.read(LocalStore(tmp_path / "nowhere")) is None
    with pytest.raises(UsageError, match=r"nowhere'?: no passtream table there \(no _passtream/"):
        Table.existing(LocalStore(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"format": "other"}', b"\xff",
                b'{"format": "passtream table"}'],
)  # fmt: skip
def test_a_spec_that_is_none_is_named(tmp_path, content):
    store = LocalStore(tmp_path)
    store.create((META_DIR,))
    store.put_if_absent(SPEC_NAME, content)
    with pytest.raises(UsageError, match=r"table\.json is not a passtream table"):
        Table.read(store)


def test_a_table_of_another_schema_is_refused(new_table):
    table = new_table()
    content = json.loads(table.store.read(SPEC_NAME))
    content["spec"]["schema_version"] = 99
    table.store.path(SPEC_NAME).write_text(json.dumps(content))
    with pytest.raises(UsageError, match="schema version 99"):
        new_table()


def test_a_commit_is_read_back(new_table):
    table = new_table()
    assert table.commits.commit(RECORD, seconds={"decode": 1.23456}) == RECORD
    (read,) = table.commits.records([SHARD])
    assert read == RECORD
    assert read.stage_s == {"decode": 1.235}
    assert abs(time.time() - read.finished_s) < 60
    assert table.commits.ids() == {SHARD}


def test_of_two_writers_the_first_record_stands(new_table):
    table = new_table()
    other = dataclasses.replace(RECORD, clips=99)
    assert table.commits.commit(RECORD, seconds={}) == RECORD
    assert table.commits.commit(other, seconds={"wait": 2.0}) == RECORD
    assert list(table.commits.records([SHARD])) == [RECORD]


def test_the_first_fidelity_is_kept_and_makes_no_difference(new_table):
    table = new_table(precision="bf16")
    assert table.fidelity is None
    table.note_fidelity(RECORD)
    assert new_table(precision="bf16").fidelity is None
    for cosine_min in (0.75, 0.5):
        fidelity = {"precision": "bf16", "cosine_min": cosine_min}
        table.note_fidelity(dataclasses.replace(RECORD, fidelity=fidelity))
    opened = new_table(precision="bf16")
    assert table.fidelity == opened.fidelity == {"precision": "bf16", "cosine_min": 0.75}
    assert opened.spec == table.spec
    # A process that knew nothing of it goes on from what is there.
    opened.note_fidelity(dataclasses.replace(RECORD, fidelity={"cosine_min": 0.25}))
    assert new_table(precision="bf16").fidelity["cosine_min"] == 0.75


def test_a_records_fidelity_is_read_back(new_table):
    record = dataclasses.replace(RECORD, fidelity={"precision": "bf16", "cosine_min": 0.75})
    table = new_table()
    table.commits.commit(record, seconds={})
    (read,) = table.commits.records([SHARD])
    assert read.fidelity == record.fidelity


def test_a_record_that_is_gone_is_named(new_table):
    with pytest.raises(StoreError, match=r"commits/5{32}\.json: is gone"):
        list(new_table().commits.records([SHARD]))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"shard": "5"}', b"\xff\xfe"])
def test_a_damaged_record_is_named(new_table, content):
    table = new_table()
    table.store.put_if_absent(commit_name(SHARD), content)
    with pytest.raises(StoreError, match=r"commits/5{32}\.json: not a commit record"):
        list(table.commits.records([SHARD]))


def test_clips_of_a_shard_are_those_that_went_in(new_table, embed, write_clip, tmp_path):
    clips = [write_clip(tmp_path / f"{i}.wav", 500) for i in range(3)]
    clips.append(ClipRef(str(tmp_path / "gone.wav"), "missing"))
    table = new_table()
    (record,) = embed(table, clips)
    assert sorted(table.clips_of(record.shard)) == sorted(clips)
    assert table.clips_of("other") == []


def test_files_without_a_commit_are_orphans(new_table, embed, write_clip, tmp_path):
    table = new_table(tables=("clips", "windows"))
    missing = ClipRef(str(tmp_path / "gone.wav"), "missing")
    first, second = embed(table, [write_clip(tmp_path / "a.wav", 500), missing], shard_clips=1)
    assert table.orphans({first.shard, second.shard}) == []
    table.store.delete(commit_name(second.shard))
    assert table.orphans(table.commits.ids()) == [
        data_name(name, second.shard) for name in ("clips", "windows", "errors")
    ]


def test_a_spec_that_is_nested_deeply_is_refused(tmp_path):
    (tmp_path / "_passtream").mkdir()
    (tmp_path / "_passtream" / "table.json").write_text("[" * 200_000)
    with pytest.raises(UsageError, match="is not a passtream table"):
        Table.read(LocalStore(tmp_path))
