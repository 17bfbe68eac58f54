"""Tests of labels, timestamps, precision and routes, from the command to the table."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.archs import DEFAULT_ARCH, arch_spec
from models.checkpoints.state_dict import load_weights
from models.inference.embedder import Embedder
from models.labels import class_names
from pipeline.table_layout import SPEC_NAME
from tests.support import (
    ONE_BLOCK_EACH,
    QUICK,
    QUICK_ARCH,
    QUICK_SPEC,
    assert_same_vectors,
    assert_verified,
    open_table,
    passtream,
    tone,
    vectors,
    write_tones,
)

DURATIONS_S = (0.5, 1.0, 1.61, 10.5)
ALL = (
    *QUICK,
    *("--tables", "clips,windows,timestamps", "--outputs", "labels,embedding,logits"),
    *("--top-k", 3, "--precision", "bf16", "--shard-clips", 3),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, DURATIONS_S)
    return folder


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Output of the command, and its table."""
    table = tmp_path_factory.mktemp("made") / "table"
    done = passtream("embed", corpus, table, *ALL, "--in-process")
    assert done.returncode == 0, done.stderr
    return done.stdout, table


def timestamps(table):
    """Return the timestamp embeddings of each clip as a matrix, by uri."""
    rows = pq.read_table(table / "timestamps", columns=["uri", "timestamp_ms", "embedding"])
    uris = np.array(rows["uri"].to_pylist())
    matrix = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(len(uris), -1)
    return {uri: matrix[uris == uri] for uri in sorted(set(uris))}


def test_table_has_every_timestamp_of_every_clip(run):
    _, table = run
    # A clip has 1 + 20 x duration_s timestamps, rounded down.
    counts = [11, 21, 33, 211]
    assert assert_verified(table).timestamps == sum(counts)
    assert [len(matrix) for matrix in timestamps(table).values()] == counts


def test_timestamp_windows_at_the_ends_are_padded_by_reflection(run):
    _, table = run
    weights = load_weights("random:0", QUICK_SPEC)
    embedder = Embedder(QUICK_SPEC, weights.state_dict, precision="bf16")
    padded = np.pad(tone(DURATIONS_S[0], 32_000, seed=0), 2560, mode="reflect")
    windows = [padded[i : i + 5120] for i in range(0, 16_001, 1600)]
    outputs = embedder.embed(windows)
    expected = np.concatenate((outputs.logits, outputs.features), axis=1)
    found = next(iter(timestamps(table).values()))
    # bf16 rounds differently in other batches: 8 bits on features of up to about 2.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)


def test_labels_are_the_most_probable_classes(run):
    _, table = run
    names = class_names("audioset")
    for folder in ("clips", "windows"):
        for row in pq.read_table(table / folder).to_pylist():
            logits = np.array(row["logits"])
            best = np.argsort(-logits, kind="stable")[:3]
            assert [label["index"] for label in row["labels"]] == best.tolist()
            assert [label["name"] for label in row["labels"]] == [names[i] for i in best]
            probabilities = [label["probability"] for label in row["labels"]]
            np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits[best])), rtol=1e-5)


def test_fidelity_of_the_precision_is_printed_and_recorded(run):
    output, folder = run
    table = open_table(folder)
    assert f"fidelity to fp32: cosine min {table.fidelity['cosine_min']:.5f} mean" in output
    # The first shard's clips have one window each.
    assert (table.fidelity["windows"], table.fidelity["archs"]) == (3, [QUICK_ARCH])
    assert 0.9 < table.fidelity["cosine_min"] < 1
    records = list(table.commits.records(sorted(table.commits.ids())))
    assert len(records) == 2
    assert all(record.fidelity == table.fidelity for record in records)
    checked = passtream("verify", folder).stdout
    assert f"model       {QUICK_ARCH} to 10 s, weights random:0" in checked
    assert "precision   bf16, fidelity to fp32: cosine min" in checked
    assert "timestamps  276 (base, 1295 wide)" in checked
    report = json.loads(passtream("verify", folder, "--json").stdout)
    assert (report["precision"], report["fidelity"]) == ("bf16", table.fidelity)
    assert [route["arch"] for route in report["routes"]] == [QUICK_ARCH]


def test_fidelity_that_a_killed_run_did_not_record_is_restored(run, corpus):
    _, folder = run
    path = folder / SPEC_NAME
    before = path.read_bytes()
    path.write_text(json.dumps(json.loads(before) | {"fidelity": None}))
    done = passtream("embed", corpus, folder, *ALL)
    assert done.returncode == 0, done.stderr
    assert "0 to do" in done.stderr
    assert json.loads(path.read_bytes()) == json.loads(before)


def test_differing_outputs_are_refused_by_the_name_of_the_option(run, corpus):
    _, folder = run
    done = passtream("embed", corpus, folder, *QUICK, "--top-k", 5, "--outputs", "labels")
    assert done.returncode == 2
    for difference in (
        "tables: clips,windows,timestamps, clips", "outputs: embedding,logits,labels, embedding,",
        "top_k: 3, 5", "precision: 'bf16', 'fp32'", "timestamps: 'base', ''",
    ):  # fmt: skip
        assert difference in done.stderr


@pytest.mark.slow
def test_ray_writes_the_same_table_as_a_single_process(run, corpus, tmp_path):
    _, alone = run
    done = passtream("embed", corpus, tmp_path / "table", *ALL)
    assert done.returncode == 0, done.stderr
    assert assert_verified(tmp_path / "table").timestamps == 276
    assert "fidelity to fp32: cosine min" in done.stdout
    assert open_table(tmp_path / "table").fidelity["windows"] >= 1
    one, other = timestamps(alone), timestamps(tmp_path / "table")
    assert_same_vectors(one, other, within=0.05)
    assert_same_vectors(vectors(alone), vectors(tmp_path / "table"), within=0.05)


def test_clips_are_embedded_whole_by_the_arch_for_their_length(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    durations_s = (1.0, 10.5, 20.5)
    paths = write_tones(corpus, durations_s)
    done = passtream(
        "embed", corpus, table, "--weights", "random:0", "--long-clips", "route",
        "--tables", "clips,windows", "--in-process", env=ONE_BLOCK_EACH,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = assert_verified(table)
    assert (report.clips, report.windows) == (3, 3)
    archs = [DEFAULT_ARCH, "passt_20sec", "passt_30sec"]
    for folder in ("clips", "windows"):
        assert pq.read_table(table / folder)["arch"].to_pylist() == archs
    spec = replace(arch_spec("passt_20sec"), depth=1)
    embedder = Embedder(spec, load_weights("random:0", spec).state_dict)
    expected = embedder.embed([tone(durations_s[1], 32_000, seed=1)]).features[0]
    np.testing.assert_allclose(vectors(table)[str(paths[1])], expected, rtol=0, atol=1e-5)
    checked = passtream("verify", table, env=ONE_BLOCK_EACH).stdout
    for arch, up_to_s in zip(archs, (10, 20, 30), strict=True):
        assert f"model       {arch} to {up_to_s} s, weights random:0" in checked
