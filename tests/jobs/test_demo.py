"""Tests of the demo: its corpus, and its table read by pyarrow, pandas and DuckDB."""

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from jobs.demo import make_corpus
from tests.support import QUICK, assert_verified, passtream


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Folder of the table that is embedded from the demo's corpus."""
    root = tmp_path_factory.mktemp("demo")
    # The corpus has 21 valid recordings and two damaged files.
    assert make_corpus(root / "corpus") == 23
    options = (*QUICK, "--hop-s", 10, "--tables", "clips,windows", "--max-error-ratio", 0.1)
    done = passtream("embed", root / "corpus", root / "table", *options, "--in-process")
    assert done.returncode == 0, done.stderr
    report = assert_verified(root / "table")
    assert (report.clips, dict(report.errors)) == (21, {"truncated": 1, "undecodable": 1})
    return root / "table"


def test_existing_corpus_is_not_written_again(tmp_path):
    make_corpus(tmp_path / "corpus")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make_corpus(tmp_path / "corpus")
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_pyarrow_reads_the_table(table):
    rows = pq.read_table(table / "clips")
    assert (rows.num_rows, rows["embedding"].type.list_size) == (21, 768)
    assert rows["embedding"].null_count == 0


def test_pandas_reads_the_table(table):
    rows = pd.read_parquet(table / "clips")
    assert np.stack(rows["embedding"].to_list()).shape == (21, 768)
    assert sorted(rows["duration_s"])[-1] == pytest.approx(75, abs=0.1)


def test_duckdb_reads_and_searches_the_table(table):
    nearest = duckdb.sql(
        f"""
        with clips as (from read_parquet('{table}/clips/*.parquet'))
        select a.uri = b.uri
        from clips a, clips b
        qualify row_number() over (
            partition by a.uri
            order by array_cosine_similarity(a.embedding::float[768], b.embedding::float[768]) desc
        ) = 1
        """
    ).fetchall()
    assert nearest == [(True,)] * 21
