"""Ray as the run meets it: more actors than one, shards that cannot be written, no Ray there."""

import pytest

from tests.support import (
    QUICK,
    assert_same_vectors,
    assert_verified,
    passtream,
    unprivileged_prefix,
    vectors,
    write_tones,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [0.5 + 0.5 * i for i in range(8)] + [12.0])
    return folder


def test_two_actors_write_what_one_process_does(corpus, tmp_path):
    options = (*QUICK, "--shard-clips", 2, "--outputs", "embedding,logits")
    tables = {}
    for name, where in (("ray", ("--actors", 2)), ("alone", ("--in-process",))):
        tables[name] = tmp_path / name
        done = passtream("embed", corpus, tables[name], *options, *where)
        assert done.returncode == 0, done.stderr
        assert assert_verified(tables[name]).shards == 5  # 9 clips, two a shard
    for column in ("embedding", "logits"):
        one, other = (vectors(table, column) for table in tables.values())
        assert_same_vectors(one, other, within=1e-5)


@pytest.mark.parametrize(
    "where", [pytest.param("--on-ray", marks=pytest.mark.slow), "--in-process"]
)
def test_shard_that_cannot_be_written_exits_3_and_is_done_later(where, corpus, tmp_path):
    table = tmp_path / "table"
    done = passtream("embed", corpus / "000.wav", table, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    (table / "clips").chmod(0o555)
    options = (*QUICK, "--shard-clips", 4, where)
    done = passtream("embed", corpus, table, *options, prefix=unprivileged_prefix())
    assert done.returncode == 3, done.stderr
    assert "Permission denied" in done.stderr
    # The first clip is done; the other eight make two shards.
    assert "2 shards failed; the same command tries them again" in done.stdout
    assert done.stderr.count("given up: ") == 2
    (table / "clips").chmod(0o755)
    done = passtream("embed", corpus, table, *options)
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == 9


def test_ray_that_is_not_there_exits_2(corpus, tmp_path):
    # Without the variable, auto finds whichever Ray another test has running.
    nowhere = {"RAY_ADDRESS": "127.0.0.1:9"}
    for address, env in (("auto", nowhere), ("127.0.0.1:9", {})):
        options = (*QUICK, "--address", address)
        done = passtream("embed", corpus, tmp_path / "table", *options, env=env)
        assert done.returncode == 2, done.stderr
        assert f"address '{address}': " in done.stderr
        assert "reachable there (127.0.0.1:9: " in done.stderr
        assert "--address local starts one" in done.stderr
        assert "Traceback" not in done.stderr
