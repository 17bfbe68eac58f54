"""Tests of `pipeline.sources.parquet`: listings of Parquet files, and tables made from them."""

import json
import os

import pytest

from pipeline.errors import UsageError
from pipeline.maintenance.verify import verify_table
from pipeline.readers import parquet_layout
from pipeline.table.schema import check_carried_columns
from pipeline.table_layout import commit_name
from tests.pipeline.sources.corpora import (
    corpus,
    embed_pending,
    listed,
    plan,
    rows,
    write_parquet,
)


@pytest.fixture(autouse=True)
def _small_containers(monkeypatch):
    monkeypatch.setattr(parquet_layout, "GROUP_ROWS", 2)


@pytest.fixture
def parquet(tmp_path):
    """A file with seven rows in row groups of two: four containers."""
    folder = tmp_path / "data"
    folder.mkdir()
    return write_parquet(
        folder / "train-000.parquet", corpus(7), row_group=2, label=[*"abcdef", None], n=range(7)
    )


def test_files_globs_braces_and_folders_list_the_same_files(parquet):
    (parquet.parent / "README.md").write_text("about")
    folder = parquet.parent
    sources = (folder, folder / "*.parquet", folder / "{train,test}-000.parquet")
    write_parquet(folder / "test-000.parquet", corpus(2))
    for source in sources:
        assert len(listed(source).containers) == 5, source
        assert listed(source).formats == {str(source): "parquet"}
    assert listed(folder).skipped == {".md": 1}
    assert listed(folder).text() == "5 containers (skipped 1 other file: .md 1)"


def test_columns_are_those_that_the_options_ask_for(parquet):
    assert listed(parquet).columns == ()
    assert listed(parquet, columns=("n", "label", "n")).columns == ("n", "label")
    with pytest.raises(UsageError, match=r"has a column 'm'; there are: audio, label, n"):
        listed(parquet, columns=("label", "m"))


def test_columns_with_names_of_the_tables_own_columns_are_refused(tmp_path):
    path = write_parquet(tmp_path / "c.parquet", corpus(1), duration_s=[1.0])
    assert listed(path).columns == ()
    with pytest.raises(UsageError, match="'duration_s' cannot be carried"):
        check_carried_columns(listed(path, columns=("duration_s",)).columns)


def test_rows_of_a_table_name_the_row_and_carry_its_columns(parquet, new_table):
    table = new_table(columns=("label", "n"))
    listing = listed(parquet, columns=("label", "n"))
    assert plan(table, listing).n_clips == 7
    embed_pending(table, listing)
    found = rows(table)
    assert [row["member"] for row in found] == [f"row={i}" for i in range(7)]
    assert [row["label"] for row in found] == [*"abcdef", None]
    assert [row["n"] for row in found] == [str(i) for i in range(7)]
    assert {row["member_offset"] for row in found} == {None}
    report = verify_table(table, listing)
    assert report.problems == []
    assert (report.clips, report.shards) == (7, 4)


def test_a_repeated_run_embeds_only_the_missing_shards(parquet, new_table):
    table = new_table()
    assert embed_pending(table, listed(parquet), max_shards=3) == 3
    assert plan(new_table(), listed(parquet)).n_clips == 1
    assert embed_pending(new_table(), listed(parquet)) == 1
    assert embed_pending(new_table(), listed(parquet)) == 0
    assert verify_table(table, listed(parquet)).problems == []


def test_a_changed_file_is_embedded_again_as_a_whole(parquet, new_table):
    """The number of its containers has changed, and it was only partly embedded before."""
    table = new_table()
    embed_pending(table, listed(parquet), max_shards=2)
    write_parquet(parquet, corpus(7), row_group=3)
    other = write_parquet(parquet.parent / "other.parquet", corpus(1))
    planned = plan(table, listed(parquet.parent))
    assert {os.path.basename(each.uri) for each in planned.changed} == {"train-000.parquet"}
    assert len(planned.changed) == 2
    # The seven rows are in groups of 3, 3 and 1 now.
    assert sorted(shard.container.uri for shard in planned.pending) == [str(other)] + 3 * [
        str(parquet)
    ]
    assert verify_table(table, listed(parquet)).problems
    assert embed_pending(table, listed(parquet.parent)) == 4
    assert verify_table(table, listed(parquet.parent)).passed
    assert embed_pending(table, listed(parquet.parent)) == 0


def test_a_file_with_other_containers_has_no_row_twice(parquet, new_table, monkeypatch):
    table = new_table()
    embed_pending(table, listed(parquet))
    monkeypatch.setattr(parquet_layout, "GROUP_ROWS", 4)
    embed_pending(table, listed(parquet))
    assert verify_table(table, listed(parquet)).passed
    assert len({row["member"] for row in rows(table)}) == len(rows(table))


def test_each_unreadable_container_of_a_file_is_an_error_row(parquet, new_table):
    table, listing = new_table(), listed(parquet)
    parquet.unlink()
    embed_pending(table, listing)
    errors = rows(table, "errors")
    assert [error["class"] for error in errors] == ["missing"] * 4
    assert len({error["clip_id"] for error in errors}) == 4
    assert verify_table(table, listing).problems == []


def test_verify_finds_a_missing_row_of_a_container(parquet, new_table):
    table = new_table()
    embed_pending(table, listed(parquet), max_shards=1)
    (shard,) = table.commits.ids()
    record = json.loads(table.store.read(commit_name(shard)))
    assert record["container"]["n_clips"] == 2
    record["container"]["n_clips"] = 3
    table.store.path(commit_name(shard)).write_text(json.dumps(record))
    (problem,) = verify_table(table).problems
    assert problem.endswith("3 clips are in its container, 2 came out")
