"""A clip gets the same embedding from a file, a tar, a Parquet file or a span of a manifest.

The command embeds the files. The other runs share a model and call the command's functions.
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
    assert_verified,
    passtream,
    tone,
    vectors,
)

N_CLIPS, SHARD_CLIPS = 200, 64
RATE_HZ = 32_000
N_TARS, N_LONG = 2, 4
NAMES = [f"{i:03}.wav" for i in range(N_CLIPS)]
# Expected format of each source, by the name of the source.
SOURCES = {
    "files": "files",
    f"clips-{{0..{N_TARS - 1}}}.tar": "tar",
    "clips.parquet": "parquet",
    "spans/clips.csv": "manifest",
}


@pytest.fixture(scope="module")
def samples():
    """Samples of each clip: 0.2 to 0.5 s of int16, which every format stores exactly."""
    lengths = np.random.default_rng(0).integers(RATE_HZ // 5, RATE_HZ // 2, N_CLIPS)
    clips = [tone(n / RATE_HZ, RATE_HZ, seed) for seed, n in enumerate(lengths)]
    assert [len(clip) for clip in clips] == list(lengths)
    return [np.round(clip * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16) for clip in clips]


@pytest.fixture(scope="module")
def corpus(samples, tmp_path_factory) -> Path:
    """Folder with all four sources."""
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
    """Write the clips concatenated to long recordings, and a manifest of their spans."""
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
def command_vectors(corpus, tmp_path_factory):
    """Embeddings that the command writes, by file name."""
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
def location(request, corpus):
    """Root of the corpus, on disk or in a bucket, and the storage that reaches it."""
    if request.param == "disk":
        return str(corpus), Storage()
    server = request.getfixturevalue("gateway")
    location, storage = server.new_bucket(), server.storage()
    storage.filesystem(location).put(f"{corpus}/", f"{location}/", recursive=True)
    return location, storage


def _embed_source(source, uri, storage, config, weights, model):
    """Embed a source as a run does, verify the table, and return it with the source's format."""
    listing = list_sources([source], SourceOptions(storage=storage))
    spec = table_spec(config, weights, listing.columns)
    table = Table.open_or_create(open_store(uri, storage), spec)
    with table.store.lock():
        plan = plan_run(listing, KnownShards(), PlanOptions(spec.digest, SHARD_CLIPS))
        for shard in plan.pending:
            found = shard_recordings(shard, storage, spec.columns)
            embed_shard(shard, shard_packets(found, spec.decode_rule), model, table)
    reopened = Table.read(open_store(uri, storage))
    report = verify_table(reopened, listing)
    assert report.passed, report.problems
    assert (report.clips, report.errors, report.duplicate_vectors) == (N_CLIPS, {}, 0)
    assert len(reopened.commits.ids()) == len(plan.pending)
    return reopened, listing.formats[source]


def _clip_name(row):
    """Return the name of the clip to which a row belongs."""
    if "clip" in row:
        return row["clip"]
    member = row["member"]
    return NAMES[int(member.removeprefix("row="))] if "row=" in member else member or row["uri"]


def _vectors(table):
    """Return the embeddings by clip name."""
    rows = []
    for name in table.store.names("clips"):
        with table.store.open(f"clips/{name}") as file:
            rows += pq.read_table(file).to_pylist()
    return {Path(_clip_name(row)).name: np.array(row["embedding"], np.float32) for row in rows}


@pytest.mark.parametrize("name", SOURCES, ids=SOURCES.values())
def test_embedding_of_a_clip_does_not_depend_on_its_format(
    command_vectors, location, name, tmp_path, config, weights, model
):
    root, storage = location
    is_remote = root.startswith("s3://")
    uri = f"{root}/tables/{SOURCES[name]}" if is_remote else str(tmp_path / "table")
    table, format_ = _embed_source(f"{root}/{name}", uri, storage, config, weights, model)
    assert format_ == SOURCES[name]
    embedded = _vectors(table)
    assert sorted(embedded) == NAMES
    assert_same_vectors(embedded, command_vectors, within=1e-5)
