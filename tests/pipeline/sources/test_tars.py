"""`pipeline.sources.tars`: what is listed as tars, and whole tables made of them."""

import io
import os

import fsspec
import numpy as np
import pytest
import soundfile

from pipeline.errors import UsageError
from pipeline.maintenance.verify import verify_table
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from tests.pipeline.sources.corpora import (
    corpus,
    embed_all,
    listed,
    plan,
    read,
    rows,
    wav,
    write_parquet,
    write_tar,
)


def names(listing):
    return [os.path.basename(container.uri) for container in listing.containers]


@pytest.fixture
def tars(tmp_path):
    """Three tars of two clips each."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for i in range(3):
        write_tar(folder / f"t-{i:03}.tar", corpus(2, first_seed=2 * i))
    return folder


def test_files_globs_braces_and_folders_are_the_same(tars):
    (tars / "README.md").write_text("about")
    expected = [f"t-{i:03}.tar" for i in range(3)]
    for source in (tars, tars / "*.tar", tars / "t-{000..002}.tar", tars / "t-{000,00{1..2}}.tar"):
        listing = listed(source)
        assert names(listing) == expected, source
        assert not listing.clips
        assert listing.formats == {str(source): "tar"}
    assert listed(tars).skipped == {".md": 1}
    assert listed(tars, tars / "t-001.tar").containers == listed(tars).containers


def test_a_file_of_any_name_is_a_tar_if_it_is_said_to_be(tars):
    (tars / "t-000.tar").rename(tars / "shard")
    (container,) = listed(tars / "shard", format="tar").containers
    assert list(read(container)[0]) == ["000.wav", "001.wav"]


def test_what_is_not_there_is_named(tars):
    with pytest.raises(UsageError, match=r"no such file or folder: '.*t-003.tar', '.*t-004.tar'"):
        listed(tars / "t-{000..004}.tar")
    with pytest.raises(UsageError, match=r"x\*.tar': the glob matches no file"):
        listed(tars / "x*.tar")


def test_a_file_whose_name_has_braces_is_itself(tars):
    (tars / "t-000.tar").rename(tars / "{0..1}.tar")
    assert names(listed(tars / "{0..1}.tar")) == ["{0..1}.tar"]


def test_columns_are_those_of_the_first_samples(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.txt": b"one", "a.wav": wav(), "a.npy": b"x", "a.json": b"{}"})
    write_tar(tmp_path / "1.tar", {"b.cls": b"3", "b.wav": wav()})
    assert listed(tmp_path).columns == ("json", "txt")
    assert listed(tmp_path, columns=("cls", "npy")).columns == ("cls", "npy")
    assert listed(tmp_path, columns=()).columns == ()
    (tmp_path / "0.tar").write_bytes(b"damaged")
    assert listed(tmp_path).columns == ("cls",)


def test_tars_in_a_store(tars):
    store = fsspec.filesystem("memory")
    top = "/h4-tars"
    for path in sorted(tars.iterdir()):
        store.pipe(f"{top}/deep/{path.name}", path.read_bytes())
    store.pipe(f"{top}/about.md", b"about")
    try:
        for source in ("", "/deep", "/deep/*.tar", "/deep/t-{000..002}.tar"):
            listing = listed(f"memory:/{top}{source}", format="tar")
            assert [c.uri for c in listing.containers] == [
                f"memory:/{top}/deep/t-{i:03}.tar" for i in range(3)
            ], source
        assert listed(f"memory:/{top}/deep").formats == {f"memory:/{top}/deep": "tar"}
        assert read(listing.containers[1])[0] == corpus(2, first_seed=2)
        with pytest.raises(UsageError, match=r"t-003\.tar': no such file"):
            listed(f"memory:/{top}/deep/t-{{000..003}}.tar")
        store.pipe(f"{top}/deep/t-001.tar", (tars / "t-000.tar").read_bytes())
        found, _ = read(listing.containers[1])
        assert found[""].startswith(f"changed: memory:/{top}/deep/t-001.tar: changed since")
        store.rm(f"{top}/deep/t-001.tar")
        assert read(listing.containers[1])[0][""].startswith("missing")
    finally:
        store.rm(top, recursive=True)


# Whole tables


def test_the_same_corpus_as_files_tar_and_parquet(tmp_path, make_spec):
    clips = corpus(6)
    (tmp_path / "files").mkdir()
    for name, content in clips.items():
        (tmp_path / "files" / name).write_bytes(content)
    sources = {
        "files": tmp_path / "files",
        "tar": write_tar(tmp_path / "c.tar", clips),
        "gz": write_tar(tmp_path / "c.tar.gz", clips),
        "parquet": write_parquet(tmp_path / "c.parquet", clips),
    }
    found = {}
    for name, source in sources.items():
        listing = listed(source)
        table = Table.open_or_create(LocalStore(tmp_path / f"table-{name}"), make_spec())
        embed_all(table, listing)
        assert verify_table(table, listing).problems == []
        found[name] = [row["embedding"] for row in rows(table)]
    assert len(found["files"]) == 6
    for name in ("tar", "gz", "parquet"):
        np.testing.assert_array_equal(found[name], found["files"])


def test_rows_say_where_the_clip_lies_and_carry_its_texts(tmp_path, new_table, noise):
    tar = write_tar(
        tmp_path / "c.tar",
        {"a.wav": wav(400), "a.json": b'{"x": 1}', "b.json": b"{}", "b.wav": wav(500, seed=1)},
    )
    table = new_table(columns=("json", "txt"))
    embed_all(table, listed(tar))
    a, b = rows(table)
    assert (a["uri"], a["member"], a["json"], a["txt"]) == (str(tar), "a.wav", '{"x": 1}', None)
    assert (b["member"], b["json"]) == ("b.wav", "{}")
    content = tar.read_bytes()
    for row, seed in ((a, 0), (b, 1)):
        hit = content[row["member_offset"] : row["member_offset"] + row["member_bytes"]]
        samples, _ = soundfile.read(io.BytesIO(hit), dtype="float32")
        np.testing.assert_array_equal(samples, noise(len(samples), seed))
        assert len(samples) / 32000 == row["duration_s"]


def test_a_run_that_was_cut_off_does_what_is_missing(tars, new_table):
    table, listing = new_table(), listed(tars)
    assert embed_all(table, listing, most=1) == 1
    assert embed_all(new_table(), listed(tars)) == 2
    assert embed_all(new_table(), listed(tars)) == 0
    report = verify_table(table, listing)
    assert report.problems == []
    assert (report.clips, report.shards) == (6, 3)


def test_a_tar_that_changed_is_embedded_anew(tars, new_table):
    table = new_table()
    embed_all(table, listed(tars))
    write_tar(tars / "t-001.tar", corpus(5))
    write_tar(tars / "t-003.tar", corpus(1, first_seed=9))
    planned = plan(table, listed(tars))
    assert [os.path.basename(each.uri) for each in planned.changed] == ["t-001.tar"]
    todo = [os.path.basename(shard.container.uri) for shard in planned.pending]
    assert todo == ["t-001.tar", "t-003.tar"]
    (problem, *more) = verify_table(table, listed(tars / "t-{000..002}.tar")).problems
    assert "changed since they were embedded: 1" in problem
    assert "t-001.tar" in problem
    assert not more
    assert embed_all(table, listed(tars)) == 2
    assert verify_table(table, listed(tars)).passed
    assert len(rows(table)) == 2 + 5 + 2 + 1


def test_damage_is_one_row_and_what_was_read_before_stays(tars, new_table):
    # A header of 512 bytes and 4 blocks of audio, then the same again.
    os.truncate(tars / "t-001.tar", 512 * (1 + 4) + 1000)
    table, listing = new_table(), listed(tars)
    embed_all(table, listing)
    (error,) = rows(table, "errors")
    assert (error["uri"], error["member"]) == (str(tars / "t-001.tar"), "")
    assert (error["stage"], error["class"]) == ("read", "damaged_container")
    # 2 clips in two of them, and the first of the third.
    assert len(rows(table)) == 5
    assert verify_table(table, listing).problems == []


def test_a_bad_member_is_a_row_of_its_own(tmp_path, new_table):
    tar = write_tar(tmp_path / "c.tar", {"a.wav": wav(), "b.wav": b"no audio", "c.wav": b""})
    table = new_table()
    embed_all(table, listed(tar))
    errors = rows(table, "errors")
    assert [(e["member"], e["class"]) for e in errors] == [
        ("b.wav", "undecodable"),
        ("c.wav", "empty"),
    ]
    assert len(rows(table)) == 1
    assert verify_table(table, listed(tar)).problems == []


def test_a_tar_without_audio_is_an_empty_shard(tmp_path, new_table):
    tar = write_tar(tmp_path / "c.tar", {"a.txt": b"text"})
    table = new_table()
    assert embed_all(table, listed(tar)) == 1
    assert verify_table(table, listed(tar)).problems == []
    assert embed_all(table, listed(tar)) == 0
