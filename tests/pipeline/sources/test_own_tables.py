"""Tests of a table inside its source: its files are left out, with a note."""

import shutil
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.io.storage import Storage
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table


@pytest.fixture
def corpus(tmp_path, make_spec, write_clip, embed):
    """A folder with two recordings, a table of them, and another table in a subfolder."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    clips = [write_clip(folder / f"{i}.wav", 500, i) for i in range(2)]
    for below in ("table", "below/table"):
        table = Table.open_or_create(
            LocalStore(folder / below), make_spec(tables=("clips", "windows"))
        )
        embed(table, clips)
    return folder


def move_into_parquet(corpus):
    """Replace the recordings by a Parquet file with their bytes."""
    audio = [{"bytes": path.read_bytes(), "path": path.name} for path in corpus.glob("*.wav")]
    for path in corpus.glob("*.wav"):
        path.unlink()
    pq.write_table(pa.table({"audio": audio}), corpus / "rows.parquet")


def file_names(listing):
    found = [*(clip.uri for clip in listing.clips), *(each.uri for each in listing.containers)]
    return sorted(uri.rpartition("/")[2] for uri in found)


NOTES = [
    "left out {n} files of the passtream table 'below/table', which lies in the source",
    "left out {n} files of the passtream table 'table', which lies in the source",
]


def assert_left_out(listing, n_files):
    assert [note.partition(" (name")[0] for note in listing.notes] == [
        note.format(n=n_files) for note in NOTES
    ]


def test_a_table_in_a_folder_of_recordings_is_left_out_with_a_note(corpus):
    listing = list_sources([str(corpus)])
    assert file_names(listing) == ["0.wav", "1.wav"]
    # These are the spec, the commit record, and a file each of clips and windows.
    assert_left_out(listing, 4)


@pytest.mark.parametrize("source_format", ["auto", "parquet"])
def test_a_table_in_a_folder_of_parquet_is_left_out_with_a_note(corpus, source_format):
    move_into_parquet(corpus)
    listing = list_sources([str(corpus)], SourceOptions(format=source_format))
    assert file_names(listing) == ["rows.parquet"]
    assert_left_out(listing, 4)


@pytest.mark.parametrize("pattern", ["**/*.parquet", "**"])
def test_a_table_that_a_glob_matches_is_left_out_with_a_note(corpus, pattern):
    move_into_parquet(corpus)
    listing = list_sources([f"{corpus}/{pattern}"], SourceOptions(format="parquet"))
    assert file_names(listing) == ["rows.parquet"]
    assert {note.split("'")[1] for note in listing.notes} == {"table", "below/table"}


def test_a_table_in_a_store_is_left_out_with_a_note(corpus):
    move_into_parquet(corpus)
    storage, root = Storage(), f"memory://{uuid.uuid4().hex}/corpus"
    files = storage.filesystem(root)
    for path in corpus.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{root}/{path.relative_to(corpus)}", path.read_bytes())
    listing = list_sources([root], SourceOptions(storage=storage))
    assert file_names(listing) == ["rows.parquet"]
    assert_left_out(listing, 4)


def test_a_folder_with_nothing_but_a_table_has_no_audio(corpus):
    with pytest.raises(UsageError, match="no audio files"):
        list_sources([str(corpus / "table")])


def test_the_clips_of_a_table_can_be_named_as_a_manifest(corpus):
    """The files of `clips` have a column `uri`."""
    shutil.rmtree(corpus / "below")
    listing = list_sources([f"{corpus}/table/clips/*.parquet"], SourceOptions(columns=()))
    assert file_names(listing) == ["0.wav", "1.wav"]
