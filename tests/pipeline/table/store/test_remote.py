"""Whole tables on object stores: embedded, verified, gone on with after a kill, read by others."""

import json
import signal
import uuid

import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.io.storage import Storage
from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.repair import apply_removals, repair
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.sources.listing import Listing
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table, check_is_table_or_empty
from tests.servers import SECRET


@pytest.fixture(params=["memory", "moto", "gateway"])
def place(request):
    """A URI for a table, and how it is reached."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/table", Storage()
    server = request.getfixturevalue(request.param)
    return f"{server.new_bucket()}/table", server.storage()


@pytest.fixture
def clips(write_clip, tmp_path):
    return [write_clip(tmp_path / f"{i}.wav", 700 + 500 * i, i) for i in range(6)]


def rows(place, folder):
    uri, storage = place
    filesystem = storage.filesystem(uri)
    names = filesystem.glob(f"{uri}/{folder}/*.parquet")
    return [row for name in names for row in read(filesystem, name).to_pylist()]


def read(filesystem, name):
    with filesystem.open(name) as file:
        return pq.read_table(file)


def test_a_table_is_embedded_and_verified(place, make_spec, embed, clips, timestamps, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"no audio at all")
    spec = make_spec(**timestamps | {"tables": ("clips", "windows", "timestamps")})
    table = Table.open_or_create(open_store(*place), spec)
    with table.store.lock():
        records = embed(table, clips, shard_clips=2)
    again = Table.read(open_store(*place))
    assert again.spec == spec
    report = verify_table(again, Listing(clips))
    assert report.passed, report.problems
    assert (report.shards, report.clips) == (3, 6)
    assert sorted(row["uri"] for row in rows(place, "clips")) == sorted(c.uri for c in clips)
    assert again.commits.ids() == {record.shard for record in records}
    assert [clip for r in records for clip in again.clips_of(r.shard)] == clips


def test_a_shard_loses_a_clip_and_keeps_the_rest(place, make_spec, embed, clips):
    table = Table.open_or_create(open_store(*place), make_spec())
    with table.store.lock():
        embed(table, clips, shard_clips=3)
    before = {row["uri"]: row for row in rows(place, "clips")}
    listing = [*clips[:2], *clips[3:]]
    again = Table.read(open_store(*place))
    options = PlanOptions(again.spec.digest, 3, prune=True)
    plan = plan_run(Listing(listing), take_inventory(again), options)
    with again.store.lock():
        assert not apply_removals(again, plan).pending
        assert repair(again) == []
    assert verify_table(again, Listing(listing)).passed
    del before[clips[2].uri]
    assert {row["uri"]: row for row in rows(place, "clips")} == before


def test_a_damaged_table_is_told(place, make_spec, embed, clips):
    table = Table.open_or_create(open_store(*place), make_spec())
    record = embed(table, clips)[0]
    (name,) = (name for name in record.files if name.startswith("clips/"))
    content = table.store.read(name)
    with table.store.replacing(name) as path:
        path.write_bytes(content[:-1])
    assert any("bytes, its commit says" in each for each in verify_table(table).problems)
    with table.store.replacing(name) as path:
        path.write_bytes(bytes(len(content)))
    assert any("Parquet magic bytes" in each for each in verify_table(table).problems)
    table.store.delete(name)
    assert any("is gone" in problem for problem in verify_table(table).problems)


def test_other_files_are_not_built_upon(place, make_spec):
    uri, storage = place
    above = open_store(uri.removesuffix("/table"), storage)
    table = Table.open_or_create(open_store(uri, storage), make_spec())
    with pytest.raises(UsageError, match=r"holds other files \(table, ...\)"):
        check_is_table_or_empty(above)
    check_is_table_or_empty(table.store)


def test_other_settings_are_refused(place, make_spec):
    Table.open_or_create(open_store(*place), make_spec())
    with pytest.raises(UsageError, match=f"table {place[0]} was made with other settings.*hop_s"):
        Table.open_or_create(open_store(*place), make_spec(hop_s=0.01))


EMBED = """
import json, sys
from pathlib import Path
from pipeline.stream.packets import shard_packets
from pipeline.planning.plan import plan_run
from pipeline.maintenance.inventory import take_inventory
from pipeline.planning.plan import PlanOptions
from pipeline.readers.shard_reader import clip_recordings
from pipeline.embedding.embed_shard import embed_shard
from pipeline.sources.list_sources import list_sources
from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from tests.pipeline.conftest import StatisticsModel

uri, options, folder, stop_after = sys.argv[1:]
table = Table.read(open_store(uri, Storage(tuple(json.loads(options).items()))))
listing = list_sources([folder])
with table.store.lock():
    plan = plan_run(listing, take_inventory(table), PlanOptions(table.spec.digest, 1))
    for n, shard in enumerate(plan.pending):
        if n == int(stop_after):
            # Written but not committed, as of a run that is killed between the two.
            def wait(*_, **__):
                print("stuck", flush=True)
                sys.stdin.readline()

            table.commits.commit = wait
        packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        embed_shard(shard, packets, StatisticsModel(), table)
"""


@pytest.mark.parametrize("server", ["moto", "gateway"])
def test_a_killed_run_is_gone_on_with(request, server, make_spec, clips, tmp_path, start_python):
    server = request.getfixturevalue(server)
    place = f"{server.new_bucket()}/table", server.storage()
    table = Table.open_or_create(open_store(*place), make_spec())
    arguments = (place[0], json.dumps(server.options), tmp_path)
    killed = start_python(EMBED, *arguments, 3)
    assert killed.stdout.readline() == "stuck\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(table.commits.ids()) == 3
    assert len(rows(place, "clips")) == 4
    # Its lease is still there; that its process is not is seen at once.
    again = start_python(EMBED, *arguments, -1)
    again.communicate()
    assert again.returncode == 0
    report = verify_table(table, Listing(clips))
    assert report.passed, report.problems
    found = rows(place, "clips")
    assert sorted(row["uri"] for row in found) == sorted(clip.uri for clip in clips)


def test_nothing_of_the_credentials_is_in_a_table(gateway, make_spec, embed, clips):
    uri, storage = f"{gateway.new_bucket()}/table", gateway.storage()
    table = Table.open_or_create(open_store(uri, storage), make_spec())
    embed(table, clips)
    filesystem = storage.filesystem(uri)
    contents = [filesystem.cat_file(name) for name in filesystem.find(uri)]
    assert len(contents) >= 4  # spec, probe, clips, a commit
    assert not any(SECRET.encode() in content for content in contents)
