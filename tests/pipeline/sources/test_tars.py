"""Tests of `pipeline.sources.tars`: listings of tars, and tables made from them."""

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
    embed_pending,
    listed,
    plan,
    read,
    rows,
    wav,
    write_parquet,
    write_tar,
)


def container_names(listing):
    return [os.path.basename(container.uri) for container in listing.containers]


@pytest.fixture
def tars(tmp_path):
    """Three tars of two clips each."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for i in range(3):
        write_tar(folder / f"t-{i:03}.tar", corpus(2, first_seed=2 * i))
    return folder


def test_files_globs_braces_and_folders_list_the_same_tars(tars):
    (tars / "README.md").write_text("about")
    expected = [f"t-{i:03}.tar" for i in range(3)]
    for source in (tars, tars / "*.tar", tars / "t-{000..002}.tar", tars / "t-{000,00{1..2}}.tar"):
        listing = listed(source)
        assert container_names(listing) == expected, source
        assert not listing.clips
        assert listing.formats == {str(source): "tar"}
    assert listed(tars).skipped == {".md": 1}
    assert listed(tars, tars / "t-001.tar").containers == listed(tars).containers


def test_a_file_with_any_name_is_a_tar_if_the_format_says_so(tars):
    (tars / "t-000.tar").rename(tars / "shard")
    (container,) = listed(tars / "shard", format="tar").containers
    assert list(read(container)[0]) == ["000.wav", "001.wav"]


def test_missing_tars_are_named(tars):
    with pytest.raises(UsageError, match=r"no such file or folder: '.*t-003.tar', '.*t-004.tar'"):
        listed(tars / "t-{000..004}.tar")
    with pytest.raises(UsageError, match=r"x\*.tar': the glob matches no file"):
        listed(tars / "x*.tar")


def test_an_existing_file_with_braces_in_its_name_is_not_expanded(tars):
    (tars / "t-000.tar").rename(tars / "{0..1}.tar")
    assert container_names(listed(tars / "{0..1}.tar")) == ["{0..1}.tar"]


def test_columns_are_those_of_the_first_samples(tmp_path):
    write_tar(tmp_path / "0.tar", {"a.txt": b"one", "a.wav": wav(), "a.npy": b"x", "a.json": b"{}"})
    write_tar(tmp_path / "1.tar", {"b.cls": b"3", "b.wav": wav()})
    assert listed(tmp_path).columns == ("json", "txt")
    assert listed(tmp_path, columns=("cls", "npy")).columns == ("cls", "npy")
    assert listed(tmp_path, columns=()).columns == ()
    (tmp_path / "0.tar").write_bytes(b"damaged")
    assert listed(tmp_path).columns == ("cls",)


def test_tars_in_a_store_are_listed_and_read(tars):
    store = fsspec.filesystem("memory")
    top = "/store-of-tars"
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


def test_files_tars_and_parquet_of_one_corpus_have_the_same_embeddings(tmp_path, make_spec):
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
        embed_pending(table, listing)
        assert verify_table(table, listing).problems == []
        found[name] = [row["embedding"] for row in rows(table)]
    assert len(found["files"]) == 6
    for name in ("tar", "gz", "parquet"):
        np.testing.assert_array_equal(found[name], found["files"])


def test_rows_have_the_byte_range_of_the_clip_and_its_texts(tmp_path, new_table, noise):
    tar = write_tar(
        tmp_path / "c.tar",
        {"a.wav": wav(400), "a.json": b'{"x": 1}', "b.json": b"{}", "b.wav": wav(500, seed=1)},
    )
    table = new_table(columns=("json", "txt"))
    embed_pending(table, listed(tar))
    a, b = rows(table)
    assert (a["uri"], a["member"], a["json"], a["txt"]) == (str(tar), "a.wav", '{"x": 1}', None)
    assert (b["member"], b["json"]) == ("b.wav", "{}")
    content = tar.read_bytes()
    for row, seed in ((a, 0), (b, 1)):
        member = content[row["member_offset"] : row["member_offset"] + row["member_bytes"]]
        samples, _ = soundfile.read(io.BytesIO(member), dtype="float32")
        np.testing.assert_array_equal(samples, noise(len(samples), seed))
        assert len(samples) / 32000 == row["duration_s"]


def test_a_repeated_run_embeds_only_the_missing_shards(tars, new_table):
    table, listing = new_table(), listed(tars)
    assert embed_pending(table, listing, max_shards=1) == 1
    assert embed_pending(new_table(), listed(tars)) == 2
    assert embed_pending(new_table(), listed(tars)) == 0
    report = verify_table(table, listing)
    assert report.problems == []
    assert (report.clips, report.shards) == (6, 3)


def test_a_changed_tar_is_embedded_again(tars, new_table):
    table = new_table()
    embed_pending(table, listed(tars))
    write_tar(tars / "t-001.tar", corpus(5))
    write_tar(tars / "t-003.tar", corpus(1, first_seed=9))
    planned = plan(table, listed(tars))
    assert [os.path.basename(each.uri) for each in planned.changed] == ["t-001.tar"]
    pending = [os.path.basename(shard.container.uri) for shard in planned.pending]
    assert pending == ["t-001.tar", "t-003.tar"]
    (problem, *more) = verify_table(table, listed(tars / "t-{000..002}.tar")).problems
    assert "changed since they were embedded: 1" in problem
    assert "t-001.tar" in problem
    assert not more
    assert embed_pending(table, listed(tars)) == 2
    assert verify_table(table, listed(tars)).passed
    assert len(rows(table)) == 2 + 5 + 2 + 1


def test_a_damaged_tar_is_one_error_row_and_keeps_the_clips_before_the_damage(tars, new_table):
    # Each member has a header of 512 bytes and 4 blocks of audio; the second one is cut.
    os.truncate(tars / "t-001.tar", 512 * (1 + 4) + 1000)
    table, listing = new_table(), listed(tars)
    embed_pending(table, listing)
    (error,) = rows(table, "errors")
    assert (error["uri"], error["member"]) == (str(tars / "t-001.tar"), "")
    assert (error["stage"], error["class"]) == ("read", "damaged_container")
    # Two tars have 2 clips each, and the damaged one has its first.
    assert len(rows(table)) == 5
    assert verify_table(table, listing).problems == []


def test_a_bad_member_is_an_error_row(tmp_path, new_table):
    tar = write_tar(tmp_path / "c.tar", {"a.wav": wav(), "b.wav": b"no audio", "c.wav": b""})
    table = new_table()
    embed_pending(table, listed(tar))
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
    assert embed_pending(table, listed(tar)) == 1
    assert verify_table(table, listed(tar)).problems == []
    assert embed_pending(table, listed(tar)) == 0
