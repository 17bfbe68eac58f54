"""Tests of tables in stores that are unavailable, lose replies or refuse requests."""

import contextlib

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.io import upload
from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.store.remote import PROBE_NAME, RemoteStore
from tests.contracts.conftest import write_file
from tests.servers import KEY, SECRET, Fault, S3Server, fault_proxy


@pytest.fixture
def proxy_starter():
    """Function that puts a proxy before a server; returns an opener of stores, and the proxy."""
    with contextlib.ExitStack() as stack:

        def put_proxy_before(server):
            bucket, proxy = server.new_bucket(), stack.enter_context(fault_proxy(server))
            proxied_server = S3Server(proxy.url)
            return (
                lambda timeout_s=60.0: RemoteStore(f"{bucket}/t", proxied_server.storage(timeout_s))
            ), proxy

        yield put_proxy_before


@pytest.fixture
def faulty(server, proxy_starter):
    return proxy_starter(server)


def test_large_files_are_uploaded_in_parts(server, monkeypatch):
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)  # the minimum of S3
    store = RemoteStore(f"{server.new_bucket()}/t", server.storage())
    content = bytes(range(251)) * 50_000  # 12 MB
    write_file(store, "clips/a", b"old")
    write_file(store, "clips/a", content)
    assert store.names("clips") == {"a": len(content)}
    with store.open("clips/a") as file:
        assert file.read() == content


def test_a_failed_part_leaves_the_old_file(faulty, monkeypatch):
    open_proxied_store, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store = open_proxied_store(timeout_s=1.0)
    write_file(store, "clips/a", b"old")
    proxy.faults = [Fault("unavailable", "PUT", "partNumber=2", 1000)]
    with pytest.raises(StoreError, match="clips/a cannot be written"):
        write_file(store, "clips/a", bytes(12 << 20))
    assert store.read("clips/a") == b"old"


def test_a_lost_reply_to_the_completion_of_an_upload_is_recovered(faulty, monkeypatch):
    open_proxied_store, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store, content = open_proxied_store(), bytes(range(256)) * 45_000
    proxy.faults = [Fault("lost", "POST", "uploadId=")]
    write_file(store, "clips/a", content)
    assert proxy.faults[0].seen == 1
    assert store.names("clips") == {"a": len(content)}


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_lost_reply_to_a_conditional_put_counts_as_our_own_put(faulty, times):
    open_proxied_store, proxy = faulty
    store = open_proxied_store()
    store.create(())
    proxy.faults = [Fault("lost", "PUT", "clips/a", times)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == times
    assert not store.put_if_absent("clips/a", b"theirs")


def test_a_lost_reply_does_not_mislead_the_probe_for_conditional_put(faulty):
    open_proxied_store, proxy = faulty
    proxy.faults = [Fault("lost", "PUT", PROBE_NAME, 1)]
    assert open_proxied_store().has_conditional_put


def test_a_conflict_is_retried(faulty):
    open_proxied_store, proxy = faulty
    store = open_proxied_store()
    store.create(())
    proxy.faults = [Fault("conflict", "PUT", "clips/a", 3)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == 3


def test_a_server_that_ignores_the_condition_is_detected(moto, proxy_starter):
    """Only moto works here: it accepts a request from which the proxy removed a signed header."""
    open_proxied_store, proxy = proxy_starter(moto)
    proxy.faults = [Fault("ignore_condition", "PUT", "", 1000)]
    store = open_proxied_store()
    assert not store.has_conditional_put
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert "no conditional put" in store.notes()[0]
    with store.lock():
        pass


def test_a_temporarily_unavailable_store_is_waited_for(faulty):
    open_proxied_store, proxy = faulty
    store = open_proxied_store()
    store.create(())
    proxy.faults = [
        Fault("unavailable", method, part, 4)
        for method, part in (("PUT", "clips/a"), ("GET", "clips/a"), ("GET", "list-type"))
    ]
    write_file(store, "clips/a", b"12345")
    assert store.read("clips/a") == b"12345"
    assert store.names("clips") == {"a": 5}
    assert [fault.seen for fault in proxy.faults] == [4, 4, 4]


def test_a_persistently_unavailable_store_fails_after_its_timeout(faulty):
    open_proxied_store, proxy = faulty
    store = open_proxied_store(timeout_s=1.0)
    store.create(())
    proxy.faults = [Fault("unavailable", method, "clips", 1000) for method in ("PUT", "GET")]
    for request in (
        lambda: write_file(store, "clips/a", b""),
        lambda: store.put_if_absent("clips/a", b""),
        lambda: store.read("clips/a"),
        lambda: store.names("clips"),
    ):
        with pytest.raises(StoreError) as raised:
            request()
        assert f"{store.location}/clips" in str(raised.value)
        assert "tried for 1 s (--store-timeout-s)" in str(raised.value)
        assert SECRET not in str(raised.value)


def test_a_missing_bucket_is_named(server):
    store = RemoteStore("s3://no-such-bucket-here/t", server.storage())
    for request in (store.entries, lambda: store.create(()), lambda: store.read("a")):
        with pytest.raises(UsageError, match="s3://no-such-bucket-here/t: there is no such bucket"):
            request()


def test_wrong_credentials_are_reported_and_not_shown(gateway):
    bucket = gateway.new_bucket()
    options = gateway.options | {"secret": "wrong-and-still-secret"}
    store = RemoteStore(f"{bucket}/t", Storage(tuple(options.items())))
    with pytest.raises(StoreError, match=f"{bucket}/t.*does not know these credentials") as raised:
        store.entries()
    with pytest.raises(UsageError, match=f"{bucket}/t.*does not know these credentials"):
        store.create(())
    assert "wrong-and-still-secret" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_password_in_a_uri_is_refused():
    with pytest.raises(UsageError, match=r"contains a password") as raised:
        open_store("ftp://me:hidden@host/table", Storage())
    assert "hidden" not in str(raised.value)


def test_file_uris_are_local(tmp_path):
    store = open_store(f"file://{tmp_path}/a%20table", Storage())
    assert store.location == str(tmp_path / "a table")
