"""`carried_columns`: corrected values of a manifest reach the rows, without embedding again."""

import pyarrow.parquet as pq
import pytest

from pipeline.errors import StoreError
from pipeline.maintenance.carried_columns import (
    clips_with_other_values,
    is_up_to_date,
    update_carried,
)
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.pipeline.sources.corpora import rows


@pytest.fixture
def manifest(write_clip, tmp_path):
    """Writes a manifest of four clips, one of which is missing, with a text each."""
    for i in range(3):
        write_clip(tmp_path / f"{i}.wav", 500 + i, i)

    def write(*texts, names=("0.wav", "1.wav", "2.wav", "gone.wav"), speaker="Ann"):
        lines = [f"{name},{text},{speaker}\n" for name, text in zip(names, texts, strict=True)]
        (tmp_path / "m.csv").write_text("uri,text,speaker\n" + "".join(lines))
        return list_sources([str(tmp_path / "m.csv")], SourceOptions(columns=("text", "speaker")))

    return write


@pytest.fixture
def table(new_table, manifest, run):
    """A table of that manifest, two clips per shard, as a run leaves it."""
    table = new_table(tables=("clips", "windows"), columns=("text", "speaker"))
    listing = manifest("a", "b", "c", "d")
    run(table, listing)
    return table


@pytest.fixture
def run(embed):
    """Does what a run does; how many clips are updated, and how many embedded."""

    def run(table, listing):
        plan = apply_removals(table, planned(table, listing))
        n_updated = update_carried(table, plan.done, listing)
        clips = [clip for shard in plan.pending for clip in shard.clips]
        embed(table, clips, shard_clips=2)
        return n_updated, len(clips)

    return run


def planned(table, listing):
    return plan_run(listing, take_inventory(table), PlanOptions(table.spec.digest, 2))


def texts(table):
    return {row["uri"][-5:]: (row["text"], row["speaker"]) for row in rows(table)}


def vectors(table):
    return {row["uri"]: row["embedding"] for row in rows(table)}


def test_corrected_values_reach_the_rows_and_nothing_is_embedded_again(table, manifest, run):
    before, files = vectors(table), table.files()
    listing = manifest("a", "B!", "", "d")
    assert not is_up_to_date(table, listing)
    others = clips_with_other_values(table, planned(table, listing).done, listing)
    assert sorted(uri[-5:] for uri, _ in others) == ["1.wav", "2.wav"]
    (problem,) = verify_table(table, listing).problems
    assert "clips whose text, speaker in the table are not those of the source: 2 (" in problem
    assert "the same `passtream embed` again updates them" in problem
    assert run(table, listing) == (2, 0)
    assert texts(table) == {
        "0.wav": ("a", "Ann"),
        "1.wav": ("B!", "Ann"),
        "2.wav": (None, "Ann"),
    }
    assert vectors(table) == before
    assert table.files()["windows"] == files["windows"]
    assert verify_table(table, listing).passed
    assert run(table, listing) == (0, 0)


def test_values_that_are_as_before_cost_one_small_file(table, manifest, monkeypatch):
    listing = manifest("a", "b", "c", "d")
    opened = []
    read = table.store.open
    monkeypatch.setattr(table.store, "open", lambda name: opened.append(name) or read(name))
    assert is_up_to_date(table, listing)
    assert update_carried(table, planned(table, listing).done, listing) == 0
    assert opened == []


def test_values_that_go_back_to_what_they_were_are_updated_too(table, manifest, run):
    for text, n_updated in (("x", 1), ("a", 1), ("a", 0), ("x", 1)):
        listing = manifest(text, "b", "c", "d")
        assert run(table, listing) == (n_updated, 0)
        assert texts(table)["0.wav"] == (text, "Ann")


def test_a_part_of_the_source_changes_only_its_own_clips(table, manifest, run):
    listing = manifest("x", names=("0.wav",))
    assert update_carried(table, sorted(table.commits.ids()), listing) == 1
    assert texts(table) == {"0.wav": ("x", "Ann"), "1.wav": ("b", "Ann"), "2.wav": ("c", "Ann")}


def test_a_table_of_an_older_version_is_compared_once(table, manifest, run):
    table.store.delete("_passtream/carried.json")
    listing = manifest("x", "b", "c", "d")
    assert update_carried(table, sorted(table.commits.ids()), listing) == 1
    assert is_up_to_date(table, listing)


@pytest.mark.parametrize("n_done", range(6))
def test_a_run_that_is_killed_while_it_updates_is_finished_by_the_next(
    table, manifest, run, monkeypatch, n_done
):
    """Each step is one file that is put in its place; the run dies before one of them."""
    listing = manifest("x", "b", "y", "d")
    replacing, left = table.store.replacing, [n_done]

    def dying(name):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return replacing(name)

    monkeypatch.setattr(table.store, "replacing", dying)
    with pytest.raises(KeyboardInterrupt):
        update_carried(table, sorted(table.commits.ids()), listing)
    monkeypatch.undo()
    old = manifest("a", "b", "c", "d")
    for each in (listing, old) if n_done % 2 else (old, listing):
        run(table, each)
        assert texts(table)["0.wav"][0] == ("a" if each is old else "x")
        assert not take_inventory(table).damaged
        assert verify_table(table, each).passed


def test_rows_that_cannot_be_read_are_named(table, manifest, run):
    listing = manifest("x", "b", "c", "d")
    name = next(name for name in table.store.names("clips"))
    (table.store.path("clips") / name).write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=f"{name} cannot be read"):
        update_carried(table, sorted(table.commits.ids()), listing)


def test_the_file_of_a_shard_stays_one_that_every_reader_knows(table, manifest, run):
    before = {
        name: pq.read_schema(table.store.path("clips") / name) for name in table.files()["clips"]
    }
    run(table, manifest("x", "y", "z", "d"))
    for name, schema in before.items():
        assert pq.read_schema(table.store.path("clips") / name).equals(schema, check_metadata=True)
