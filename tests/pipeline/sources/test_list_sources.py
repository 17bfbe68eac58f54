"""Tests of `pipeline.sources.list_sources`: formats of sources, and the columns that they carry."""

import os

import pytest

from pipeline.errors import UsageError
from pipeline.table.schema import check_carried_columns, own_columns
from tests.pipeline.sources.corpora import corpus, listed, wav, write_parquet, write_tar


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


def test_tars_in_a_folder_with_audio_are_skipped_unless_the_format_is_tar(tars):
    (tars / "deep").mkdir()
    (tars / "deep" / "a.wav").write_bytes(wav())
    listing = listed(tars)
    assert len(listing.clips) == 1
    assert listing.skipped == {".tar": 3}
    assert len(listed(tars, format="tar").containers) == 3
    excluded = listed(tars, format="tar", exclude=("*-001.tar",))
    assert container_names(excluded) == ["t-000.tar", "t-002.tar"]
    included = listed(tars, format="tar", include=("*-001.tar",))
    assert container_names(included) == ["t-001.tar"]


def test_a_folder_of_tars_and_parquet_needs_a_format(tars):
    write_parquet(tars / "a.parquet", corpus(2))
    with pytest.raises(UsageError, match=r"several formats; choose one with --source-format"):
        listed(tars)
    assert len(listed(tars, format="parquet").containers) == 1


@pytest.mark.parametrize("name", ["uri", "Embedding", "labels", ""])
def test_columns_with_names_of_the_tables_own_columns_are_refused(tars, name):
    with pytest.raises(UsageError, match="a column of its own by that name; leave it out"):
        check_carried_columns(listed(tars, columns=("json", name)).columns)


def test_sources_of_several_formats_are_one_listing(tars, tmp_path):
    parquet = write_parquet(tmp_path / "a.parquet", corpus(2))
    (tmp_path / "a.wav").write_bytes(wav())
    listing = listed(tars, parquet, tmp_path / "a.wav")
    assert list(listing.formats.values()) == ["tar", "parquet", "files"]
    assert listing.text() == "1 clip and 4 containers"


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".TGZ", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_tar_is_detected_by_its_ending(tmp_path, ending):
    path = write_tar(tmp_path / "x.tar", {}).rename(tmp_path / f"x{ending}")
    assert listed(path).formats == {str(path): "tar"}


def test_an_unknown_format_is_refused(tars):
    with pytest.raises(UsageError, match="must be auto or one of files, tar, parquet"):
        listed(tars, format="zip")


def test_own_columns_are_those_of_a_table_with_all_outputs(make_spec):
    spec = make_spec(outputs=("embedding", "logits", "labels"), top_k=1)
    from pipeline.table.schema import schemas

    assert own_columns() == tuple(schemas(spec)["clips"].names)


def test_each_source_carries_the_columns_of_the_table_that_it_has(tmp_path):
    (tmp_path / "m.csv").write_text("uri,c,a,x\nb.wav,3,1,9\n")
    parquet = write_parquet(tmp_path / "a.parquet", corpus(1), b=["2"], y=["9"])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.wav").write_bytes(wav())
    sources = (tmp_path / "m.csv", parquet, tmp_path / "folder")
    listing = listed(*sources, table_columns=("a", "b", "c", "gone"))
    assert listing.columns == ("a", "b", "c")
    assert {clip.carried for clip in listing.clips} == {("1", None, "3"), ()}
    assert listed(*sources, table_columns=()).columns == ()


def test_columns_that_seem_to_cut_recordings_but_are_not_used_are_noted(tmp_path):
    (tmp_path / "m.csv").write_text("uri,duration\nb.wav,3\n")
    (note,) = listed(tmp_path / "m.csv").notes
    path = str(tmp_path / "m.csv")
    assert f"{path!r}: the column 'duration' is carried but does not cut the recordings" in note
