"""`inventory`: nothing is concluded from a listing alone, and lost data are noticed."""

import uuid
from collections import Counter

import pytest

from pipeline.io.storage import Storage
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals, clear_orphans, repair
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.store.local import LocalStore
from pipeline.table.store.remote import RemoteStore
from pipeline.table.table import Table
from pipeline.table_layout import COMMITS_DIR, commit_name, data_name

N_CLIPS, SHARD_CLIPS = 6, 2


class Lagging:
    """A store whose listings lag: some names are not listed yet, others are listed still.

    It counts its requests, too.
    """

    hidden: frozenset[str] = frozenset()
    ghosts: tuple[tuple[str, int], ...] = ()

    def names(self, folder):
        self.asked["list"] += 1
        found = super().names(folder)
        for name, size in self.ghosts:
            if name.startswith(f"{folder}/"):
                found[name.removeprefix(f"{folder}/")] = size
        return {name: size for name, size in found.items() if name not in self.hidden}

    def size(self, name):
        self.asked["size"] += 1
        return super().size(name)

    def read(self, name):
        self.asked["read"] += 1
        return super().read(name)


class LaggingLocal(Lagging, LocalStore):
    pass


class LaggingRemote(Lagging, RemoteStore):
    pass


@pytest.fixture(params=["local", "memory"])
def table(request, tmp_path, make_spec):
    if request.param == "local":
        store = LaggingLocal(tmp_path / "table")
    else:
        store = LaggingRemote(f"memory://{uuid.uuid4().hex}/table", Storage())
    store.asked = Counter()
    return Table.open_or_create(store, make_spec(tables=("clips", "windows")))


@pytest.fixture
def clips(write_clip, tmp_path):
    return [write_clip(tmp_path / f"{i}.wav", 400 + 100 * i, i) for i in range(N_CLIPS)]


@pytest.fixture
def records(table, embed, clips):
    return embed(table, clips, shard_clips=SHARD_CLIPS)


def plan(table, clips, found=None):
    found = found or take_inventory(table)
    return plan_run(Listing(clips), found, PlanOptions(table.spec.digest, SHARD_CLIPS))


def run(table, clips, embed):
    """Do what a run does; how many clips it embeds."""
    left = apply_removals(table, plan(table, clips))
    embedded = [clip for shard in left.pending for clip in shard.clips]
    for shard in left.pending:
        embed(table, shard.clips, shard_clips=SHARD_CLIPS)
    return len(embedded)


def test_a_whole_table_is_found_whole(table, records):
    found = take_inventory(table)
    assert found.committed == {record.shard for record in records}
    assert (found.damaged, found.superseded) == ({}, set())
    assert found.counts.clips == N_CLIPS


def test_an_unchanged_resume_asks_for_each_record_once_and_lists_each_folder_once(
    table, records, clips
):
    table.store.asked.clear()
    found = take_inventory(table)
    left = plan(table, clips, found)
    assert not left.pending
    clear_orphans(table, set(left.done), found.files)
    # Five listings (records, and clips, windows, timestamps and errors), and the records.
    assert table.store.asked == {"list": 5, "read": len(records)}


@pytest.mark.parametrize("change", ["gone", "cut", "empty"])
@pytest.mark.parametrize("name", ["clips", "windows"])
def test_a_shard_whose_data_file_is_gone_or_cut_is_embedded_again(
    table, records, clips, embed, name, change
):
    file = data_name(name, records[1].shard)
    content = table.store.read(file)
    table.store.delete(file)
    if change != "gone":
        table.store.put_if_absent(file, content[: len(content) // 2 if change == "cut" else 0])
    told = " | ".join(verify_table(table).problems)
    assert file in told
    assert "run the same `passtream embed` again" in told
    found = take_inventory(table)
    assert found.damaged.keys() == {records[1].shard}
    assert found.counts.clips == N_CLIPS - SHARD_CLIPS
    assert run(table, clips, embed) == SHARD_CLIPS
    assert verify_table(table, Listing(clips)).passed
    assert run(table, clips, embed) == 0


def test_a_shard_of_a_grown_source_whose_data_file_is_gone_is_embedded_again(
    table, records, clips, embed, write_clip, tmp_path
):
    table.store.delete(data_name("clips", records[0].shard))
    grown = [write_clip(tmp_path / "0 before all.wav", 500, 99), *clips]
    assert run(table, grown, embed) == SHARD_CLIPS + 1
    assert verify_table(table, Listing(grown)).passed


def test_plan_without_records_notices_a_file_that_is_gone(table, records, clips):
    table.store.delete(data_name("windows", records[2].shard))
    table.store.asked.clear()
    found = take_inventory(table, read_records=False)
    assert found.damaged.keys() == {records[2].shard}
    assert table.store.asked == {"list": 5, "size": 1}


def test_repair_drops_the_record_of_a_shard_whose_data_are_gone_and_says_so(
    table, records, clips, embed
):
    table.store.delete(data_name("clips", records[1].shard))
    with table.store.lock() as table.commits.hold:
        (line, *rest) = repair(table)
        assert "is gone; the next run embeds its clips again" in line
        assert rest == []
        assert repair(table) == []
    assert verify_table(table).passed
    assert table.store.size(data_name("windows", records[1].shard)) is None
    table.commits.hold = None
    assert run(table, clips, embed) == SHARD_CLIPS
    assert verify_table(table, Listing(clips)).passed


def test_a_listing_that_lacks_a_record_makes_no_orphan_and_no_second_row(
    table, records, clips, embed, write_clip, tmp_path
):
    table.store.hidden = frozenset({f"{records[1].shard}.json"})
    assert table.orphans(table.commits.ids()) == []
    assert verify_table(table, Listing(clips)).passed
    assert run(table, clips, embed) == 0
    # The source grows at its front, so that all boundaries move.
    grown = [write_clip(tmp_path / "0 before all.wav", 500, 99), *clips]
    assert run(table, grown, embed) == 1
    table.store.hidden = frozenset()
    assert verify_table(table, Listing(grown)).passed


def test_a_record_that_is_listed_after_it_was_deleted_is_not_missed(table, records, clips, embed):
    content = table.store.read(commit_name(records[0].shard))
    table.commits.remove(records[0].shard)
    table.store.ghosts = ((commit_name(records[0].shard), len(content)),)
    assert records[0].shard in table.commits.ids()
    assert take_inventory(table).committed == {record.shard for record in records[1:]}
    assert run(table, clips, embed) == SHARD_CLIPS
    assert verify_table(table, Listing(clips)).passed


def test_a_listing_that_lacks_a_data_file_damages_nothing(table, records, clips, embed):
    table.store.hidden = frozenset({f"{records[1].shard}.parquet"})
    assert take_inventory(table).damaged == {}
    assert take_inventory(table, read_records=False).damaged == {}
    assert verify_table(table, Listing(clips)).passed
    assert run(table, clips, embed) == 0


def test_strange_names_are_no_shards(table, records, clips, embed):
    for name in (f"{COMMITS_DIR}/mine.json", "clips/mine.parquet", "windows/.keep"):
        table.store.put_if_absent(name, b"mine")
    assert take_inventory(table).committed == {record.shard for record in records}
    assert run(table, clips, embed) == 0
    assert table.store.read("clips/mine.parquet") == b"mine"
