"""Stores that the contract suites test, and helpers for tests with stores."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.store.remote import RemoteStore
from pipeline.table_layout import META_DIR
from tests.servers import S3Server

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("clips", f"{META_DIR}/commits")
SERVERS = ("moto", "gateway")


@pytest.fixture(params=["local", "memory", "moto", "gateway", "plain"])
def new_store(request, tmp_path):
    """Function that opens the test's table in a new store object, as another process would.

    `plain` is a store of fsspec without conditional put.
    """
    kind, name = request.param, uuid.uuid4().hex
    if kind in SERVERS:
        server: S3Server = request.getfixturevalue(kind)
        uri = f"{server.new_bucket()}/tables/one"
        return lambda **options: RemoteStore(uri, server.storage(), **options)
    if kind == "local":
        return lambda **_: open_store(str(tmp_path / "table"), Storage())
    uri = f"memory://{name}/table" if kind == "memory" else f"file://{tmp_path}/table"
    return lambda **options: RemoteStore(uri, Storage(), **options)


@pytest.fixture
def store(new_store):
    store = new_store()
    store.create(FOLDERS)
    return store


@pytest.fixture(params=SERVERS)
def server(request) -> S3Server:
    return request.getfixturevalue(request.param)


def write_file(store, name, content):
    with store.replacing(name) as path:
        path.write_bytes(content)


def is_local(store):
    return not isinstance(store, RemoteStore) or store.location.startswith("file:")


def start_python(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def storage_options_json(store):
    return json.dumps(
        dict(store._client._storage.options) if isinstance(store, RemoteStore) else {}
    )
