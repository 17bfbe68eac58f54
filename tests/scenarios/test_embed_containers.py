"""Tests of the command with tars and Parquet files: rows, verification and a second run."""

import pyarrow.parquet as pq

from tests.pipeline.sources.corpora import wav, write_parquet, write_tar
from tests.support import QUICK, assert_same_vectors, assert_verified, passtream


def test_tars_and_parquet_from_the_command_line(tmp_path):
    clips = {f"{i}.wav": wav(16_000 + 3_200 * i, seed=i) for i in range(4)}
    parts = [dict(list(clips.items())[:2]), dict(list(clips.items())[2:])]
    for i, part in enumerate(parts):
        texts = {name.replace(".wav", ".json"): b'{"n": 1}' for name in part}
        write_tar(tmp_path / f"t-{i}.tar", dict(sorted((part | texts).items())))
    write_parquet(tmp_path / "c.parquet", clips, label=list("abcd"))
    tables = {}
    for source, name, options in (
        ("t-{0..1}.tar", "tar", ("--on-ray",)),
        ("c.parquet", "parquet", ("--columns", "label", "--in-process")),
    ):
        tables[name] = tmp_path / name
        arguments = (tmp_path / source, tables[name], *QUICK, *options)
        done = passtream("embed", *arguments)
        assert done.returncode == 0, done.stderr
        assert assert_verified(tables[name]).clips == 4
        done = passtream("verify", tables[name], "--source", tmp_path / source)
        assert done.returncode == 0, done.stdout
        again = passtream("embed", *arguments)
        assert again.returncode == 0, again.stderr
        assert "0 to do" in again.stderr
    rows = {
        name: pq.read_table(table / "clips", partitioning=None).sort_by("member").to_pydict()
        for name, table in tables.items()
    }
    assert rows["tar"]["json"] == ['{"n": 1}'] * 4
    assert rows["parquet"]["label"] == list("abcd")
    assert_same_vectors(
        dict(zip("abcd", rows["tar"]["embedding"], strict=True)),
        dict(zip("abcd", rows["parquet"]["embedding"], strict=True)),
        within=1e-5,
    )
