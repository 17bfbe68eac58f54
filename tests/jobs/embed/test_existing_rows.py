"""Tests of runs on a table that has rows: changed sources, `--prune`, retries, `--new-spec`."""

import json
import shutil

import numpy as np
import pytest

from jobs.embed.existing_rows import resolve_table_version
from jobs.settings.saved_settings import SETTINGS_NAME
from pipeline.embedding.canary import CANARY_NAME
from pipeline.io.storage import DEFAULT_STORAGE
from tests.support import (
    QUICK,
    assert_verified,
    error_rows,
    n_commits,
    open_table,
    passtream,
    unprivileged_prefix,
    vectors,
    write_tones,
)

N_CLIPS = 500
CLIP_S = 0.2
OPTIONS = (*QUICK, "--in-process", "--shard-clips", 64)


def embed(source, table, *options, prefix=()):
    """Run `passtream embed`; return its exit code, its last event, and its events by name."""
    done = passtream("embed", source, table, *options, "--log-format", "json", prefix=prefix)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[-1]["event"] == "run_ended", done.stderr
    return done.returncode, events[-1], {event["event"]: event for event in events}


@pytest.fixture(scope="module")
def embedded_corpus(tmp_path_factory):
    """A folder with a corpus of 500 recordings and its table."""
    folder = tmp_path_factory.mktemp("embedded")
    write_tones(folder / "corpus", [CLIP_S] * N_CLIPS)
    code, ended, _ = embed(folder / "corpus", folder / "table", *OPTIONS)
    assert (code, ended["clips"], ended["windows"]) == (0, N_CLIPS, N_CLIPS)
    return folder


def file_names(uris):
    return {uri.rpartition("/")[2] for uri in uris}


def modification_times(table):
    """Return the modification time of each Parquet file of a table, by path."""
    return {path: path.stat().st_mtime_ns for path in table.rglob("*.parquet")}


def test_only_new_and_changed_recordings_are_embedded(embedded_corpus, tmp_path):
    corpus, table = embedded_corpus / "corpus", tmp_path / "table"
    shutil.copytree(embedded_corpus / "table", table, copy_function=shutil.copy2)
    before = vectors(table)
    gone, changed = [f"{i:03}.wav" for i in range(101, 111)], range(0, 400, 20)
    shutil.copytree(corpus, tmp_path / "kept", copy_function=shutil.copy2)
    try:
        for name in gone:
            (corpus / name).unlink()
        write_tones(tmp_path / "new", [CLIP_S + 0.05] * 570)
        for i in changed:
            shutil.move(tmp_path / "new" / f"{i + 1:03}.wav", corpus / f"{i:03}.wav")
        for i in range(520, 570):
            shutil.move(tmp_path / "new" / f"{i:03}.wav", corpus / f"{i:03}.wav")
        code, ended, events = embed(corpus, table, *OPTIONS)
        assert (code, ended["clips"], ended["windows"]) == (0, 70, 70)
        assert (events["sources_changed"]["clips"], events["sources_gone"]["clips"]) == (20, 10)
        assert "will stay in the table (--prune drops them)" in events["sources_gone"]["message"]
        after = vectors(table)
        assert len(after) == N_CLIPS + 50
        assert file_names(before) <= file_names(after)
        unchanged = file_names(before) - {f"{i:03}.wav" for i in changed}
        for uri, vector in before.items():
            is_same = np.array_equal(vector, after[uri])
            assert is_same == (file_names([uri]) <= unchanged), uri
        assert_verified(table)

        code, ended, events = embed(corpus, table, *OPTIONS, "--prune")
        assert (code, ended["clips"], ended["windows"]) == (0, 0, 0)
        pruned = vectors(table)
        assert file_names(after) - file_names(pruned) == set(gone)
        assert all(np.array_equal(vector, after[uri]) for uri, vector in pruned.items())
        assert passtream("verify", table, "--source", corpus).returncode == 0

        times_before = modification_times(table)
        code, ended, events = embed(corpus, table, *OPTIONS, "--prune")
        assert (code, ended["shards"], ended["clips"]) == (0, 0, 0)
        assert modification_times(table) == times_before
        assert "shards_rewritten" not in events
    finally:
        shutil.rmtree(corpus)
        shutil.move(tmp_path / "kept", corpus)


def test_prune_of_most_of_a_table_needs_a_higher_max_prune_ratio(embedded_corpus, tmp_path):
    table = tmp_path / "table"
    shutil.copytree(embedded_corpus / "table", table)
    shutil.copytree(
        embedded_corpus / "corpus", tmp_path / "few", ignore=shutil.ignore_patterns("[1-4]*")
    )
    done = passtream("embed", tmp_path / "few", table, *OPTIONS, "--prune")
    assert done.returncode == 2
    # The files lie in another folder, so all 500 uris are gone and the new ones are not embedded.
    assert "prune: 500 of the table's 500 clips are gone" in done.stderr
    assert "--max-prune-ratio" in done.stderr
    assert len(vectors(table)) == N_CLIPS


def test_failed_clips_are_retried_after_a_fix(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    paths = write_tones(corpus, [CLIP_S] * 6)
    paths[1].write_bytes(b"no audio, but enough bytes to be probed as a file" * 9)
    paths[2].chmod(0)
    paths[3].chmod(0)
    options = (*OPTIONS, "--max-error-ratio", 1)
    code, _, _ = embed(corpus, table, *options, prefix=unprivileged_prefix())
    assert code == 0
    before = vectors(table)
    classes = {file_names([uri]).pop(): found for uri, (found, _) in error_rows(table).items()}
    assert set(classes) == {"001.wav", "002.wav", "003.wav"}
    assert classes["002.wav"] == classes["003.wav"] != classes["001.wav"]
    paths[2].chmod(0o644)
    code, ended, _ = embed(corpus, table, *options)
    assert (code, ended["clips"]) == (0, 0)  # new permissions change no version
    done = passtream(
        "retry", table, "--class", classes["002.wav"], "--in-process", prefix=unprivileged_prefix()
    )
    assert done.returncode == 0, done.stderr
    assert "2 of the table's clips will be retried" in done.stderr
    after = vectors(table)
    assert file_names(after) - file_names(before) == {"002.wav"}
    assert all(np.array_equal(vector, after[uri]) for uri, vector in before.items())
    assert file_names(error_rows(table)) == {"001.wav", "003.wav"}
    paths[3].chmod(0o644)
    done = passtream("retry", table, "--in-process", "--log-format", "json")
    ended = json.loads(done.stderr.splitlines()[-1])
    assert (ended["clips"], ended["table_errors"]) == (2, {classes["001.wav"]: 1})
    done = passtream("retry", table, "--class", "forbidden", "--in-process")
    assert done.returncode == 0
    errors_left = f"the table's errors: {classes['001.wav']} 1"
    assert f"nothing to retry of class forbidden; {errors_left}" in done.stderr
    assert_verified(table)
    assert passtream("verify", table, "--source", corpus).returncode == 0


def test_retry_without_saved_settings_names_the_remedy(tmp_path):
    done = passtream("retry", tmp_path / "nothing")
    assert done.returncode == 2
    assert "no passtream table there" in done.stderr
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [CLIP_S])
    assert embed(corpus, table, *OPTIONS)[0] == 0
    (table / SETTINGS_NAME).unlink()
    done = passtream("retry", table, "--in-process")
    assert done.returncode == 2
    assert "holds no settings of an earlier run; give them in a --config file" in done.stderr


def test_new_spec_embeds_into_another_version_of_the_table(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [CLIP_S] * 3)
    assert embed(corpus, table, *OPTIONS)[0] == 0
    refused = passtream("embed", corpus, table, *OPTIONS, "--outputs", "logits")
    assert refused.returncode == 2
    assert "--new-spec" in refused.stderr
    other = (*OPTIONS, "--outputs", "logits", "--new-spec")
    code, ended, _ = embed(corpus, table, *other)
    assert (code, ended["clips"], ended["table"]) == (0, 3, f"{table}-v2")
    code, ended, _ = embed(corpus, table, *other)
    assert (code, ended["clips"], ended["table"]) == (0, 0, f"{table}-v2")
    code, ended, _ = embed(corpus, table, *OPTIONS, "--new-spec")
    assert (code, ended["clips"], ended["table"]) == (0, 0, str(table))
    assert n_commits(table) == n_commits(tmp_path / "table-v2") == 1
    spec = open_table(table).spec
    assert resolve_table_version(f"{table}/", DEFAULT_STORAGE, spec).location == str(table)


@pytest.mark.parametrize("mode", ["--in-process", pytest.param("--on-ray", marks=pytest.mark.slow)])
def test_model_that_fails_the_canary_ends_the_run(tmp_path, mode):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [CLIP_S] * 2)
    options = (*QUICK, "--shard-clips", 1)
    assert embed(corpus, table, *options, "--in-process")[0] == 0
    canary = json.loads((table / CANARY_NAME).read_text())
    (arch,) = canary["vectors"]
    canary["vectors"][arch][:100] = [x + 0.5 for x in canary["vectors"][arch][:100]]
    (table / CANARY_NAME).write_text(json.dumps(canary))
    write_tones(corpus / "new", [CLIP_S])
    done = passtream("embed", corpus, table, *options, mode)
    assert done.returncode == 3
    assert "the canary drifts: cpu on" in done.stderr
    assert n_commits(table) == 2
    assert "ended with an error" in passtream("status", table).stdout
