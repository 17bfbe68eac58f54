"""`rewrite`: rows that stay are the same to the last bit, wherever a run is killed."""

import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline.clips import ClipRef
from pipeline.errors import StoreError
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals, repair
from pipeline.maintenance.rewrite import rewrite_shard
from pipeline.maintenance.run_status import run_status
from pipeline.maintenance.verify import verify_table
from pipeline.planning.diff import Rewrite
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from pipeline.table_layout import commit_name, data_name

TABLES = ("clips", "windows", "timestamps", "errors")
N_CLIPS, SHARD_CLIPS = 12, 4


@pytest.fixture
def clips(write_clip, tmp_path):
    """Eleven that can be embedded, and in the first shard one that cannot."""
    made = [write_clip(tmp_path / f"{i:02}.wav", 400 + 100 * i, i) for i in range(N_CLIPS)]
    made[1] = ClipRef(made[1].uri + ".gone", "missing")
    return made


@pytest.fixture
def table(new_table, timestamps, embed, clips):
    table = new_table(**timestamps | {"tables": ("clips", "windows", "timestamps")})
    embed(table, clips, shard_clips=SHARD_CLIPS)
    return table


def rows_of(table, name, clips=None):
    """All rows of a table's files, or those of some clips, in one order."""
    files = [file for file in sorted(table.store.names(name)) if file.endswith(".parquet")]
    found = [pq.read_table(table.store.path(f"{name}/{file}")) for file in files]
    rows = pa.concat_tables(found).sort_by(
        [(c, "ascending") for c in found[0].column_names if c in ORDER]
    )
    if clips is None:
        return rows
    ids = pa.array([clip.clip_id for clip in clips], pa.string())
    return rows.filter(pc.is_in(rows["clip_id"], value_set=ids))


ORDER = ("clip_id", "window_index", "timestamp_index")


def plan(table, clips, **options):
    settings = PlanOptions(table.spec.digest, SHARD_CLIPS, **options)
    return plan_run(Listing(clips), take_inventory(table), settings)


def source_later(clips, write_clip, tmp_path):
    """Of the first shard three clips stay, of the second one changes, and all of the third go."""
    changed = write_clip(tmp_path / "05.wav", 999, 77)
    return [*clips[1:5], changed, *clips[6:8]]


def embed_rest(table, todo, embed):
    for shard in todo:
        embed(table, shard.clips, shard_clips=SHARD_CLIPS)


def test_what_stays_is_the_same_to_the_last_bit(table, clips, write_clip, tmp_path, embed):
    kept = [*clips[1:5], *clips[6:8]]
    before = {name: rows_of(table, name, kept) for name in TABLES}
    old = {record.shard: record for record in table.commits.records(sorted(table.commits.ids()))}
    listing = source_later(clips, write_clip, tmp_path)
    found = plan(table, listing, prune=True)
    assert [len(each.kept) for each in found.rewrites].count(3) == 2
    left = apply_removals(table, found)
    assert (left.rewrites, left.superseded, left.pending) == ((), (), found.pending)
    assert set(left.done) == table.commits.ids()
    assert {name: rows_of(table, name) for name in TABLES} == before
    assert verify_table(table).passed
    for record in table.commits.records(left.done):
        (replaced,) = record.replaces
        assert record.finished_s == old[replaced].finished_s
        assert record.stage_s == old[replaced].stage_s
    embed_rest(table, left.pending, embed)
    assert verify_table(table).clips == 6
    assert {row["uri"] for row in rows_of(table, "clips").to_pylist()} == {
        clip.uri for clip in listing if clip.version != "missing"
    }
    again = plan(table, listing)
    assert (again.pending, again.rewrites, again.removed) == ((), (), ())


def test_errors_and_their_counts_go_with_their_clips(table, clips):
    first = next(s for s in table.commits.ids() if clips[1] in table.clips_of(s))
    others = tuple(clip for clip in table.clips_of(first) if clip != clips[1])
    new = rewrite_shard(table, Rewrite(first, others))
    (record,) = table.commits.records([new])
    assert (record.clips, record.errors, record.rows["errors"]) == (3, {}, 0)
    assert data_name("errors", new) not in record.files
    assert table.store.size(data_name("errors", new)) is None
    alone = rewrite_shard(table, Rewrite(new, others[:1]))
    (record,) = table.commits.records([alone])
    (row,) = rows_of(table, "clips", others[:1]).to_pylist()
    assert (record.audio_s, record.windows) == (row["duration_s"], row["n_windows"])
    assert verify_table(table).passed


def test_a_shard_whose_rows_cannot_be_read_is_named_and_stays(table, clips):
    shard = next(s for s in table.commits.ids() if clips[11] in table.clips_of(s))
    name = data_name("windows", shard)
    content = table.store.read(name)
    table.store.path(name).write_bytes(content[:-30])
    with pytest.raises(StoreError, match=rf"windows/{shard}\.parquet cannot be read.* verify"):
        rewrite_shard(table, Rewrite(shard, (clips[11],)))
    assert shard in table.commits.ids()
    table.store.path(name).write_bytes(content)
    assert repair(table)  # what was written of the new one
    assert verify_table(table).passed


# Each child is killed before the n-th change of a file's name; the last one comes through.
KILLED = """
import itertools, json, os, pathlib, shutil, signal, sys, threading

from pipeline.clips import ClipRef
from pipeline.table.store.local import LocalStore
from pipeline.planning.plan import plan_run
from pipeline.maintenance.inventory import take_inventory
from pipeline.sources.listing import Listing
from pipeline.planning.plan import PlanOptions
from pipeline.maintenance.repair import apply_removals
from pipeline.table.table import Table

template, listing, prune, shard_clips = json.loads(sys.argv[1])


def dying(call):
    def counted(*args, **options):
        with lock:
            if next(count) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)
    return counted


def settle_or_die(place):
    os.replace, os.link = dying(os.replace), dying(os.link)
    pathlib.Path.unlink = dying(pathlib.Path.unlink)
    table = Table.read(LocalStore(place))
    clips = [ClipRef(*each) for each in listing]
    options = PlanOptions(table.spec.digest, shard_clips, prune)
    plan = plan_run(Listing(clips), take_inventory(table), options)
    apply_removals(table, plan)


for n in itertools.count():
    place = f"{template}-{n}"
    shutil.copytree(template, place)
    pid = os.fork()
    if not pid:
        count, lock = itertools.count(), threading.RLock()
        settle_or_die(place)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
print(n)
"""


def test_killed_at_each_step_it_recovers(table, clips, write_clip, tmp_path, embed, start_python):
    listing = source_later(clips, write_clip, tmp_path)
    template = tmp_path / "killed"
    shutil.copytree(tmp_path / "table", template)
    left = apply_removals(table, plan(table, listing, prune=True))
    embed_rest(table, left.pending, embed)
    calm = {name: rows_of(table, name) for name in TABLES}
    refs = [(clip.uri, clip.version, clip.member) for clip in listing]
    job = json.dumps([str(template), refs, True, SHARD_CLIPS])
    out, _ = (process := start_python(KILLED, job)).communicate()
    assert process.returncode == 0
    n_steps = int(out)
    assert n_steps > 20
    states = set()
    for n in range(n_steps):
        place = tmp_path / f"killed-{n}"
        repaired = tmp_path / f"repaired-{n}"
        shutil.copytree(place, repaired)
        states.add(_repaired_is_whole(repaired, clips, listing))
        again = Table.read(LocalStore(place))
        todo = apply_removals(again, plan(again, listing, prune=True))
        embed_rest(again, todo.pending, embed)
        assert verify_table(again).passed
        assert {name: rows_of(again, name) for name in TABLES} == calm
    assert states == {(True, True), (True, False), (False, True), (False, False)}


def _repaired_is_whole(place, clips, listing):
    """Whether there had been a superseded shard, and orphans."""
    table = Table.read(LocalStore(place))
    said = verify_table(table)
    counts = run_status(table).counts
    with table.store.lock():
        done = repair(table)
        assert repair(table) == []
    assert said.passed == (not done)
    assert verify_table(table).passed
    assert counts.clips == run_status(table).counts.clips
    # As any reader would: whatever is in the folders.
    rows = ds.dataset(place / "clips", format="parquet").to_table(columns=["uri"])
    uris = rows["uri"].to_pylist()
    assert len(set(uris)) == len(uris)
    assert set(uris) <= {clip.uri for clip in clips}
    assert set(uris) >= {c.uri for c in set(listing) & set(clips) if c.version != "missing"}
    kinds = [any(text in line for line in done) for text in ("replaced it", "no committed shard")]
    return tuple(kinds)


def test_status_does_not_count_a_superseded_shard_twice(table, clips):
    before = run_status(table)
    shard = next(s for s in table.commits.ids() if clips[11] in table.clips_of(s))
    record = table.store.read(commit_name(shard))
    rewrite_shard(table, Rewrite(shard, tuple(clips[8:11])))
    table.store.put_if_absent(commit_name(shard), record)
    after = run_status(table)
    assert after.shards == before.shards
    assert after.counts.clips == before.counts.clips - 1
    assert after.last_commit_s == before.last_commit_s
