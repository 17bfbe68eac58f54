"""One corpus as files, tars, Parquet and a manifest of spans: each clip embeds the same.

One run is the command's; the others share a model, through the functions that the command calls.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from jobs.settings.config import EmbedConfig
from jobs.settings.table_spec import table_spec
from jobs.worker.run_model import RunModel
from models.archs import ARCHS
from models.checkpoints.state_dict import load_weights
from pipeline.embedding.embed_shard import embed_shard
from pipeline.io.storage import Storage
from pipeline.maintenance.verify import verify_table
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import PlanOptions, plan_run
from pipeline.readers.shard_reader import shard_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.stream.packets import shard_packets
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from tests.pipeline.sources.corpora import write_parquet, write_tar
from tests.support import (
    QUICK,
    QUICK_ARCH,
    QUICK_SPEC,
    assert_same_vectors,
    passtream,
    tone,
    vectors,
    assert_verified,
)

N_CLIPS, SHARD_CLIPS = 200, 64
RATE_HZ = 32_000
N_TARS, N_LONG = 2, 4
NAMES = [f"{i:03}.wav" for i in range(N_CLIPS)]
# By the name of the source, the format that it is to be taken for.
WAYS = {
    "files": "files",
    f"clips-{{0..{N_TARS - 1}}}.tar": "tar",
    "clips.parquet": "parquet",
    "spans/clips.csv": "manifest",
}


@pytest.fixture(scope="module")
def samples():
    """Of each clip: 0.2 to 0.5 s, in 16 bits, as every one of the formats holds them exactly."""
    lengths = np.random.default_rng(0).integers(RATE_HZ // 5, RATE_HZ // 2, N_CLIPS)
    clips = [tone(n / RATE_HZ, RATE_HZ, seed) for seed, n in enumerate(lengths)]
    assert [len(clip) for clip in clips] == list(lengths)
    return [np.round(clip * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16) for clip in clips]


@pytest.fixture(scope="module")
def corpus(samples, tmp_path_factory) -> Path:
    """A folder with all four."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "files").mkdir()
    for name, clip in zip(NAMES, samples, strict=True):
        soundfile.write(folder / "files" / name, clip, RATE_HZ)
    content = {name: (folder / "files" / name).read_bytes() for name in NAMES}
    for i in range(N_TARS):
        write_tar(folder / f"clips-{i}.tar", {name: content[name] for name in NAMES[i::N_TARS]})
    write_parquet(folder / "clips.parquet", content, row_group=30)
    _write_spans(folder / "spans", samples)
    return folder


def _write_spans(folder, samples):
    """Long recordings of all clips, one after another, and the manifest that cuts them again."""
    folder.mkdir()
    rows = ["uri,start_s,end_s,clip"]
    per_file = N_CLIPS // N_LONG
    for first in range(0, N_CLIPS, per_file):
        clips = samples[first : first + per_file]
        name = f"long-{first:03}.{'flac' if first // per_file % 2 else 'wav'}"
        soundfile.write(folder / name, np.concatenate(clips), RATE_HZ, subtype="PCM_16")
        ends = np.cumsum([len(clip) for clip in clips])
        for i, (clip, end) in enumerate(zip(clips, ends.tolist(), strict=True), first):
            rows.append(f"{name},{(end - len(clip)) / RATE_HZ!r},{end / RATE_HZ!r},{NAMES[i]}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def by_command(corpus, tmp_path_factory):
    """Embeddings of the files by their names, as the command writes them."""
    table = tmp_path_factory.mktemp("command") / "table"
    options = ("--in-process", "--shard-clips", SHARD_CLIPS)
    done = passtream("embed", corpus / "files", table, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == N_CLIPS
    return {Path(uri).name: vector for uri, vector in vectors(table).items()}


@pytest.fixture(scope="module")
def config():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, QUICK_ARCH, QUICK_SPEC)
        yield EmbedConfig(arch=QUICK_ARCH, weights="random:0")


@pytest.fixture(scope="module")
def weights(config):
    return {arch.name: load_weights(config.weights, arch) for arch in config.archs}


@pytest.fixture(scope="module")
def model(config, weights):
    return RunModel(table_spec(config, weights), dict(weights), "cpu")


@pytest.fixture(scope="module", params=["disk", "gateway"])
def place(request, corpus):
    """Where the corpus lies, and how it is reached."""
    if request.param == "disk":
        return str(corpus), Storage()
    server = request.getfixturevalue("gateway")
    place, storage = server.new_bucket(), server.storage()
    storage.filesystem(place).put(f"{corpus}/", f"{place}/", recursive=True)
    return place, storage


def _embedded(source, uri, storage, config, weights, model):
    """Embed a source into a table, as a run does, and verify it; its table, and its format."""
    listing = list_sources([source], SourceOptions(storage=storage))
    spec = table_spec(config, weights, listing.columns)
    table = Table.open_or_create(open_store(uri, storage), spec)
    with table.store.lock():
        plan = plan_run(listing, KnownShards(), PlanOptions(spec.digest, SHARD_CLIPS))
        for shard in plan.pending:
            found = shard_recordings(shard, storage, spec.columns)
            embed_shard(shard, shard_packets(found, spec.decode_rule), model, table)
    again = Table.read(open_store(uri, storage))
    report = verify_table(again, listing)
    assert report.passed, report.problems
    assert (report.clips, report.errors, report.duplicate_vectors) == (N_CLIPS, {}, 0)
    assert len(again.commits.ids()) == len(plan.pending)
    return again, listing.formats[source]


def _name(row):
    """Of the clip that a row is of."""
    if "clip" in row:
        return row["clip"]
    member = row["member"]
    return NAMES[int(member.removeprefix("row="))] if "row=" in member else member or row["uri"]


def _vectors(table):
    """Embeddings by the names of the clips."""
    rows = []
    for name in table.store.names("clips"):
        with table.store.open(f"clips/{name}") as file:
            rows += pq.read_table(file).to_pylist()
    return {Path(_name(row)).name: np.array(row["embedding"], np.float32) for row in rows}


@pytest.mark.parametrize("name", WAYS, ids=WAYS.values())
def test_a_clip_embeds_the_same_however_it_is_stored(
    by_command, place, name, tmp_path, config, weights, model
):
    root, storage = place
    is_remote = root.startswith("s3://")
    uri = f"{root}/tables/{WAYS[name]}" if is_remote else str(tmp_path / "table")
    table, format_ = _embedded(f"{root}/{name}", uri, storage, config, weights, model)
    assert format_ == WAYS[name]
    embedded = _vectors(table)
    assert sorted(embedded) == NAMES
    assert_same_vectors(embedded, by_command, within=1e-5)
