"""The same command on a source that has changed does the difference, and keeps the rest."""

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
    """Run the command; its exit code, and what its last event says."""
    done = passtream("embed", source, table, *options, "--log-format", "json", prefix=prefix)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[-1]["event"] == "run_ended", done.stderr
    return done.returncode, events[-1], {event["event"]: event for event in events}


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A corpus of 500 recordings and its table."""
    folder = tmp_path_factory.mktemp("calm")
    write_tones(folder / "corpus", [CLIP_S] * N_CLIPS)
    code, ended, _ = embed(folder / "corpus", folder / "table", *OPTIONS)
    assert (code, ended["clips"], ended["windows"]) == (0, N_CLIPS, N_CLIPS)
    return folder


def names(uris):
    return {uri.rpartition("/")[2] for uri in uris}


def files_of(table):
    return {path: path.stat().st_mtime_ns for path in table.rglob("*.parquet")}


def test_fifty_new_twenty_changed_ten_gone(calm, tmp_path):
    corpus, table = calm / "corpus", tmp_path / "table"
    shutil.copytree(calm / "table", table, copy_function=shutil.copy2)
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
        assert names(before) <= names(after)
        same = names(before) - {f"{i:03}.wav" for i in changed}
        for uri, vector in before.items():
            is_same = np.array_equal(vector, after[uri])
            assert is_same == (names([uri]) <= same), uri
        assert_verified(table)

        code, ended, events = embed(corpus, table, *OPTIONS, "--prune")
        assert (code, ended["clips"], ended["windows"]) == (0, 0, 0)
        pruned = vectors(table)
        assert names(after) - names(pruned) == set(gone)
        assert all(np.array_equal(vector, after[uri]) for uri, vector in pruned.items())
        assert passtream("verify", table, "--source", corpus).returncode == 0

        files = files_of(table)
        code, ended, events = embed(corpus, table, *OPTIONS, "--prune")
        assert (code, ended["shards"], ended["clips"]) == (0, 0, 0)
        assert files_of(table) == files
        assert "shards_rewritten" not in events
    finally:
        shutil.rmtree(corpus)
        shutil.move(tmp_path / "kept", corpus)


def test_most_of_a_table_is_not_pruned_unasked(calm, tmp_path):
    table = tmp_path / "table"
    shutil.copytree(calm / "table", table)
    shutil.copytree(calm / "corpus", tmp_path / "few", ignore=shutil.ignore_patterns("[1-4]*"))
    done = passtream("embed", tmp_path / "few", table, *OPTIONS, "--prune")
    assert done.returncode == 2
    # All of them have other names, so they are new: nothing of it was begun.
    assert "prune: 500 of the table's 500 clips are gone" in done.stderr
    assert "--max-prune-ratio" in done.stderr
    assert len(vectors(table)) == N_CLIPS


def test_errors_are_tried_again_after_a_fix(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    paths = write_tones(corpus, [CLIP_S] * 6)
    paths[1].write_bytes(b"no audio at all, but bytes enough to be looked at" * 9)
    paths[2].chmod(0)
    paths[3].chmod(0)
    options = (*OPTIONS, "--max-error-ratio", 1)
    code, _, _ = embed(corpus, table, *options, prefix=unprivileged_prefix())
    assert code == 0
    before = vectors(table)
    classes = {names([uri]).pop(): found for uri, (found, _) in error_rows(table).items()}
    assert set(classes) == {"001.wav", "002.wav", "003.wav"}
    assert classes["002.wav"] == classes["003.wav"] != classes["001.wav"]
    paths[2].chmod(0o644)
    code, ended, _ = embed(corpus, table, *options)
    assert (code, ended["clips"]) == (0, 0)  # nothing has changed, as far as can be seen
    done = passtream(
        "retry", table, "--class", classes["002.wav"], "--in-process", prefix=unprivileged_prefix()
    )
    assert done.returncode == 0, done.stderr
    assert "2 of the table's clips will be tried again" in done.stderr
    after = vectors(table)
    assert names(after) - names(before) == {"002.wav"}
    assert all(np.array_equal(vector, after[uri]) for uri, vector in before.items())
    assert names(error_rows(table)) == {"001.wav", "003.wav"}
    paths[3].chmod(0o644)
    done = passtream("retry", table, "--in-process", "--log-format", "json")
    ended = json.loads(done.stderr.splitlines()[-1])
    assert (ended["clips"], ended["table_errors"]) == (2, {classes["001.wav"]: 1})
    done = passtream("retry", table, "--class", "forbidden", "--in-process")
    assert done.returncode == 0
    there = f"the table's errors: {classes['001.wav']} 1"
    assert f"nothing to try again of class forbidden; {there}" in done.stderr
    assert_verified(table)
    assert passtream("verify", table, "--source", corpus).returncode == 0


def test_a_retry_without_settings_says_what_to_do(tmp_path):
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


def test_another_spec_has_a_version_of_its_own(tmp_path):
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


@pytest.mark.parametrize(
    "where", ["--in-process", pytest.param("--on-ray", marks=pytest.mark.slow)]
)
def test_a_process_that_embeds_otherwise_ends_the_run(tmp_path, where):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [CLIP_S] * 2)
    options = (*QUICK, "--shard-clips", 1)
    assert embed(corpus, table, *options, "--in-process")[0] == 0
    canary = json.loads((table / CANARY_NAME).read_text())
    (arch,) = canary["vectors"]
    canary["vectors"][arch][:100] = [x + 0.5 for x in canary["vectors"][arch][:100]]
    (table / CANARY_NAME).write_text(json.dumps(canary))
    write_tones(corpus / "new", [CLIP_S])
    done = passtream("embed", corpus, table, *options, where)
    assert done.returncode == 3
    assert "the canary drifts: cpu on" in done.stderr
    assert n_commits(table) == 2
    assert "ended with an error" in passtream("status", table).stdout
