"""A run that stood still and lost its table commits nothing; what slips through is undone.

Runs of two processes: the first is stopped (SIGSTOP) at a certain step of a shard, the second takes
the table with another number of clips a shard and ends, and the first goes on.
"""

import json
import signal
import time

import pyarrow.parquet as pq
import pytest

from pipeline.embedding.embed_shard import embed_shard
from pipeline.errors import LostTableError
from pipeline.io.storage import Storage
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals, repair
from pipeline.maintenance.verify import verify_table
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.readers.shard_reader import clip_recordings
from pipeline.sources.listing import Listing
from pipeline.stream.packets import shard_packets
from pipeline.table.store.local import LOCK_NAME, LocalStore
from pipeline.table.store.remote import RemoteStore
from pipeline.table.table import Table
from pipeline.table_layout import DATA_DIRS, commit_name
from tests.pipeline.conftest import StatisticsModel

N_CLIPS = 12
LEASE_S = 2.0


@pytest.fixture
def clips(write_clip, tmp_path):
    return [write_clip(tmp_path / f"{i:02}.wav", 400 + 50 * i, i) for i in range(N_CLIPS)]


@pytest.fixture(params=["local", "moto"])
def place(request, tmp_path):
    """Location of a table, and options of its store."""
    if request.param == "local":
        return str(tmp_path / "table"), {}
    server = request.getfixturevalue("moto")
    return f"{server.new_bucket()}/table", server.options


def opened(place):
    location, options = place
    if not options:
        return LocalStore(location)
    return RemoteStore(location, Storage(tuple(sorted(options.items()))), lease_s=LEASE_S)


RUN = """
import contextlib, json, sys
from pipeline.clips import ClipRef
from pipeline.errors import LostTableError
from pipeline.stream.packets import shard_packets
from pipeline.planning.plan import plan_run
from pipeline.sources.listing import Listing
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import PlanOptions
from pipeline.readers.shard_reader import clip_recordings
from pipeline.table.row_writer import RowWriter
from pipeline.embedding.embed_shard import embed_shard
from pipeline.table.table import Table
from tests.pipeline.conftest import StatisticsModel
from tests.pipeline.table.test_fence import opened

place, listing, shard_clips, step = json.loads(sys.argv[1])
store = opened(place)
table = Table.read(store)
model, n_done = StatisticsModel(), 0


def waiting(call):
    def waited(*args, **options):
        if n_done == 1:
            print("stuck", flush=True)
            sys.stdin.readline()
        return call(*args, **options)
    return waited


def waiting_after(call):
    def waited(*args, **options):
        found = call(*args, **options)
        if n_done == 1:
            print("stuck", flush=True)
            sys.stdin.readline()
        return found
    return waited


if step == "embed":
    model.embed = waiting(model.embed)
if step == "write":
    RowWriter.finish = waiting(RowWriter.finish)
if step == "written":
    RowWriter.finish = waiting_after(RowWriter.finish)
if step == "checked":
    store.taken_by = waiting_after(store.taken_by)
try:
    with store.lock() as table.commits.hold:
        clips = [ClipRef(*each) for each in listing]
        plan = plan_run(Listing(clips), KnownShards(), PlanOptions(table.spec.digest, shard_clips))
        for shard in plan.pending:
            packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
            embed_shard(shard, packets, model, table)
            n_done += 1
            if step != "checked":
                table._checked_s = -1000.0  # as if the last check were long ago
except LostTableError as error:
    print(error)
"""


def take(table, clips, shard_clips):
    """Do what a run does that finds a table: take it, and embed what is missing."""
    with table.store.lock() as table.commits.hold:
        found = take_inventory(table)
        plan = plan_run(Listing(clips), found, PlanOptions(table.spec.digest, shard_clips))
        left = apply_removals(table, plan)
        for shard in left.pending:
            packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
            embed_shard(shard, packets, StatisticsModel(), table)
    return plan


@pytest.fixture
def overtaken(place, make_spec, clips, start_python):
    """Has a run stand still at a step, while another takes its table; what it says at its end."""

    def overtake(step, arrives_late=False):
        table = Table.open_or_create(opened(place), make_spec(tables=("clips", "windows")))
        refs = [(clip.uri, clip.version, clip.member) for clip in clips]
        first = start_python(RUN, json.dumps([place, refs, 4, step]))
        assert first.stdout.readline() == "stuck\n"
        first.send_signal(signal.SIGSTOP)
        if isinstance(table.store, LocalStore):
            # A lock of a network folder that was dropped: the file is another one.
            table.store.delete(LOCK_NAME)
        written = {name: table.store.read(name) for name in table.orphans(table.commits.ids())}
        take(table, clips, 3)
        for name, content in written.items() if arrives_late else ():
            table.store.put_if_absent(name, content)
        first.send_signal(signal.SIGCONT)
        out, _ = first.communicate("\n")
        return table, out

    return overtake


def uris(table):
    """All that a plain reader finds."""
    found = []
    for name in table.store.names("clips"):
        with table.store.open(f"clips/{name}") as file:
            found += pq.ParquetFile(file, pre_buffer=False).read(["uri"])["uri"].to_pylist()
    return sorted(found)


@pytest.mark.parametrize("step", ["embed", "write", "written"])
def test_a_run_that_stood_still_writes_nothing_when_it_goes_on(overtaken, clips, step):
    table, said = overtaken(step)
    assert "lost it to another one (host" in said
    assert uris(table) == sorted(clip.uri for clip in clips)
    assert table.orphans(table.commits.ids()) == []
    assert verify_table(table, Listing(clips)).passed
    # Its first shard, of before it stood still, and those of the second run.
    records = table.commits.records(sorted(table.commits.ids()))
    assert sorted(record.clips for record in records) == [2, 3, 3, 4]


@pytest.mark.parametrize("arrives_late", [True, False])
@pytest.mark.parametrize("heal", ["repair", "next run"])
def test_a_shard_that_slips_through_after_the_check_is_told_and_undone(
    overtaken, clips, heal, arrives_late
):
    """Its data were cleared by the other run, or had not arrived in the store by then."""
    table, said = overtaken("checked", arrives_late)
    assert "lost it to another one (host" in said
    assert len(uris(table)) == N_CLIPS + 4 * arrives_late
    told = "clips are there more than once" if arrives_late else "is gone"
    assert told in " | ".join(verify_table(table).problems)
    ours = max(record.lease for record in table.commits.records(sorted(table.commits.ids())))
    if heal == "repair":
        with table.store.lock() as table.commits.hold:
            line, *more = repair(table)
            assert all("no committed shard" in each for each in more)
            done = "4 clips removed that other shards have as well"
            assert (done if arrives_late else "is gone") in line
    else:
        plan = take(table, clips, 3)
        assert (len(plan.duplicated), len(plan.damaged)) == ((4, 0) if arrives_late else (0, 1))
        assert plan.pending == ()
    assert uris(table) == sorted(clip.uri for clip in clips)
    assert verify_table(table, Listing(clips)).passed
    # The shards of the run that had the table are as it wrote them.
    leases = [record.lease for record in table.commits.records(sorted(table.commits.ids()))]
    assert leases.count(ours) == 3
    again = take(table, clips, 3)
    assert (again.duplicated, again.pending, again.rewrites) == ((), (), ())


@pytest.mark.parametrize("heal", ["repair", "next run", "next run of another shard size"])
def test_clips_that_an_older_version_left_twice_are_there_once_again(new_table, clips, embed, heal):
    """Records without a number of the lease, overlapping in part; the same result by each way."""
    table = new_table(tables=("clips", "windows"))
    embed(table, clips[:10], shard_clips=5)
    embed(table, clips[3:7])
    embed(table, [*clips[6:8], *clips[10:]])
    for record in table.commits.records(sorted(table.commits.ids())):
        content = json.loads(table.store.read(commit_name(record.shard)))
        del content["lease"]
        table.store.path(commit_name(record.shard)).write_text(json.dumps(content))
    before = table.commits.ranks(sorted(table.commits.ids()))
    if heal == "repair":
        with table.store.lock() as table.commits.hold:
            assert repair(table)
            assert repair(table) == []
    else:
        assert len(take(table, clips, 5 if heal == "next run" else 3).duplicated) == 6
    assert uris(table) == sorted(clip.uri for clip in clips)
    assert verify_table(table, Listing(clips)).passed
    # The shards that were finished first are whole; the late ones lost what these have.
    first = sorted(before, key=before.__getitem__)[:2]
    assert set(first) <= table.commits.ids()


def test_every_record_says_under_which_hold_it_was_written(new_table, clips):
    table = new_table()
    take(table, clips[:4], 4)
    take(table, clips, 4)
    leases = [record.lease for record in table.commits.records(sorted(table.commits.ids()))]
    first, *others = sorted(leases)
    assert {first < other for other in others} == {True}
    assert len(set(others)) == 1


@pytest.mark.parametrize("what", ["remove", "settle", "repair", "orphans"])
def test_a_run_that_lost_its_table_deletes_nothing_of_it(new_table, clips, what):
    table = new_table()
    take(table, clips, 3)
    found = take_inventory(table)
    options = PlanOptions(table.spec.digest, 3, prune=True)
    plan = plan_run(Listing(clips[:5]), found, options)
    whole = plan_run(Listing(clips), found, PlanOptions(table.spec.digest, 3))
    with table.store.lock() as table.commits.hold:
        table.store.delete(LOCK_NAME)
        other = new_table()
        with other.store.lock():
            orphan = f"clips/{'0' * 32}.parquet"
            table.store.put_if_absent(orphan, b"of the other run, which is not through yet")
            before = {folder: table.store.names(folder) for folder in DATA_DIRS}
            with pytest.raises(LostTableError, match="has lost it to another one"):
                {
                    "remove": lambda: table.commits.remove(next(iter(found.committed))),
                    "settle": lambda: apply_removals(table, plan),
                    "repair": lambda: repair(table),
                    "orphans": lambda: apply_removals(table, whole),
                }[what]()
            assert {folder: table.store.names(folder) for folder in DATA_DIRS} == before
            assert table.commits.ids() == found.committed


def test_a_commit_costs_one_request_more_than_before(place, make_spec, clips):
    """And one every 15 s before data files are written, in each process."""
    store = opened(place)
    table = Table.open_or_create(store, make_spec())
    asked, taken_by = [], store.taken_by
    store.taken_by = lambda hold: asked.append(time.monotonic()) or taken_by(hold)
    with store.lock() as table.commits.hold:
        before = len(asked)
        plan = plan_run(Listing(clips), KnownShards(), PlanOptions(table.spec.digest, 4))
        for shard in plan.pending:
            packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
            embed_shard(shard, packets, StatisticsModel(), table)
        assert len(asked) - before <= len(plan.pending) + 1
