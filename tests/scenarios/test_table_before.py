"""A table that an earlier version wrote is opened, resumed and verified.

`table_before` was written before modules and classes had their present places and names, from
`a.wav`, `b.wav` and `broken.wav` in a bucket, so that no path of a machine is in it.
"""

import io
import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.support import QUICK, passtream

BEFORE = Path(__file__).with_name("table_before")
BUCKET = "table-before"


def tone(hz: float) -> bytes:
    """Return a WAV file of one second at 8 kHz."""
    seconds = np.arange(8000) / 8000
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes((10_000 * np.sin(2 * np.pi * hz * seconds)).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture
def corpus(moto):
    """The files that the table was made of; each call of the fixture's value puts some of them."""
    files = moto.storage().filesystem(f"s3://{BUCKET}")
    files.call_s3("create_bucket", Bucket=BUCKET)

    def put(**contents: bytes) -> None:
        for name, content in contents.items():
            files.pipe_file(f"{BUCKET}/corpus/{name}.wav", content)

    put(a=tone(440), b=tone(550), broken=b"no audio")
    yield put
    files.rm(f"s3://{BUCKET}", recursive=True)


def test_a_table_of_an_earlier_version_is_resumed(corpus, moto, tmp_path):
    table = tmp_path / "table"
    shutil.copytree(BEFORE, table)
    # A copy through git or an object store has no empty folders.
    shutil.rmtree(table / "_passtream" / "tmp", ignore_errors=True)
    before = {path.name: pq.read_table(path) for path in (table / "clips").iterdir()}
    flags = [
        text
        for name, value in moto.options.items()
        for text in ("--storage-options", f"{name}={value}")
    ]
    source = f"s3://{BUCKET}/corpus"
    run = ("embed", source, table, *QUICK, "--in-process", "--tables", "clips,windows")
    run = (*run, "--shard-clips", 1, "--max-error-ratio", 1, *flags)

    same = passtream(*run)
    assert same.returncode == 0, same.stderr
    assert {path.name: pq.read_table(path) for path in (table / "clips").iterdir()} == before

    corpus(b=tone(660), c=tone(770))
    more = passtream(*run)
    assert more.returncode == 0, more.stderr
    status = json.loads(passtream("status", table, "--json").stdout)
    assert (status["clips"], status["errors"]) == (3, {"undecodable": 1})
    kept = pq.read_table(table / "clips").filter(ds.field("uri") == f"{source}/a.wav")
    (row,) = kept.to_pylist()
    assert row in [each for rows in before.values() for each in rows.to_pylist()]

    verified = passtream("verify", table, "--source", source, "--json", *flags)
    assert verified.returncode == 0, verified.stdout
