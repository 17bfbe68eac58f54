"""Tests of a run on Ray: several actors, shards that cannot be written, and no cluster."""

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


def test_two_actors_write_the_same_rows_as_a_run_in_one_process(corpus, tmp_path):
    options = (*QUICK, "--shard-clips", 2, "--outputs", "embedding,logits")
    tables = {}
    for name, where in (("ray", ("--actors", 2)), ("alone", ("--in-process",))):
        tables[name] = tmp_path / name
        done = passtream("embed", corpus, tables[name], *options, *where)
        assert done.returncode == 0, done.stderr
        assert assert_verified(tables[name]).shards == 5  # 9 clips, two per shard
    for column in ("embedding", "logits"):
        one, other = (vectors(table, column) for table in tables.values())
        assert_same_vectors(one, other, within=1e-5)


@pytest.mark.parametrize(
    "where", [pytest.param("--on-ray", marks=pytest.mark.slow), "--in-process"]
)
def test_unwritable_shard_exits_3_and_is_embedded_by_the_next_run(where, corpus, tmp_path):
    table = tmp_path / "table"
    done = passtream("embed", corpus / "000.wav", table, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    (table / "clips").chmod(0o555)
    options = (*QUICK, "--shard-clips", 4, where)
    done = passtream("embed", corpus, table, *options, prefix=unprivileged_prefix())
    assert done.returncode == 3, done.stderr
    assert "Permission denied" in done.stderr
    # The first clip is committed; the other eight are in two shards.
    assert "2 shards failed; the same command tries them again" in done.stdout
    assert done.stderr.count("given up: ") == 2
    (table / "clips").chmod(0o755)
    done = passtream("embed", corpus, table, *options)
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == 9


def test_unreachable_ray_cluster_exits_2(corpus, tmp_path):
    # Without the variable, `auto` would find a Ray of another test.
    no_cluster = {"RAY_ADDRESS": "127.0.0.1:9"}
    for address, env in (("auto", no_cluster), ("127.0.0.1:9", {})):
        options = (*QUICK, "--address", address)
        done = passtream("embed", corpus, tmp_path / "table", *options, env=env)
        assert done.returncode == 2, done.stderr
        assert f"address '{address}': " in done.stderr
        assert "reachable there (127.0.0.1:9: " in done.stderr
        assert "--address local starts one" in done.stderr
        assert "Traceback" not in done.stderr
