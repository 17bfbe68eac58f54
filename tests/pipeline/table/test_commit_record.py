"""`pipeline.table.commit_record`: what a finished shard leaves for resuming and for counting."""

import dataclasses
import json

import pytest

from pipeline.clips import Container
from pipeline.errors import StoreError
from pipeline.progress import Counts
from pipeline.table.commit_record import CommitRecord

RECORD = CommitRecord(
    shard="5",
    clips=3,
    rows={"clips": 2, "errors": 1},
    errors={"missing": 1},
    audio_s=1.5,
    windows=4,
    files={"clips/5.parquet": 100},
    replaces=("3", "4"),
    container=Container("/a.tar", "1-1", "part", "tar", 3),
)


def test_a_record_counts_as_progress():
    assert RECORD.counts == Counts(3, 4, 1.5, {"missing": 1})


def test_a_record_is_read_back():
    read = CommitRecord.from_bytes(json.dumps(dataclasses.asdict(RECORD)).encode())
    assert read == RECORD
    assert dataclasses.asdict(read) == dataclasses.asdict(RECORD)  # what is not compared as well


@pytest.mark.parametrize(
    ("writer", "finished_s"),
    [
        ({"finished_s": 12.5}, 12.5),
        ({"finished_s": 12}, 12.0),
        ({}, None),
        ({"finished_s": "?"}, None),
    ],
)
def test_a_record_may_know_when_it_was_written(writer, finished_s):
    assert dataclasses.replace(RECORD, writer=writer).finished_s == finished_s


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b'{"shard": "5"}', "clips Field required"),
        (b"\xff\xfe", "Invalid JSON"),
    ],
)
def test_what_is_no_record_is_told(content, told):
    with pytest.raises(StoreError, match=f"not a commit record: .*{told}"):
        CommitRecord.from_bytes(content)
