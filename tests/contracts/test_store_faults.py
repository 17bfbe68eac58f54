"""Stores that are out of order, lose replies, refuse, or take less than they say."""

import contextlib

import pytest

from pipeline.errors import StoreError, UsageError
from pipeline.io import upload
from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.store.remote import PROBE_NAME, RemoteStore
from tests.contracts.conftest import fill
from tests.servers import KEY, SECRET, Fault, S3Server, fault_proxy


@pytest.fixture
def proxied():
    """Opens stores behind a proxy: how, and the proxy."""
    with contextlib.ExitStack() as stack:

        def before(server):
            bucket, proxy = server.new_bucket(), stack.enter_context(fault_proxy(server))
            behind = S3Server(proxy.url)
            return (
                lambda timeout_s=60.0: RemoteStore(f"{bucket}/t", behind.storage(timeout_s))
            ), proxy

        yield before


@pytest.fixture
def faulty(server, proxied):
    return proxied(server)


def test_large_files_go_in_parts(server, monkeypatch):
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)  # the least that S3 takes
    store = RemoteStore(f"{server.new_bucket()}/t", server.storage())
    content = bytes(range(251)) * 50_000  # 12 MB
    fill(store, "clips/a", b"old")
    fill(store, "clips/a", content)
    assert store.names("clips") == {"a": len(content)}
    with store.open("clips/a") as file:
        assert file.read() == content


def test_a_part_that_fails_leaves_the_old_file(faulty, monkeypatch):
    new, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store = new(timeout_s=1.0)
    fill(store, "clips/a", b"old")
    proxy.faults = [Fault("unavailable", "PUT", "partNumber=2", 1000)]
    with pytest.raises(StoreError, match="clips/a cannot be written"):
        fill(store, "clips/a", bytes(12 << 20))
    assert store.read("clips/a") == b"old"


def test_a_completion_whose_reply_was_lost_is_made_good(faulty, monkeypatch):
    new, proxy = faulty
    monkeypatch.setattr(upload, "PART_BYTES", 5 << 20)
    store, content = new(), bytes(range(256)) * 45_000
    proxy.faults = [Fault("lost", "POST", "uploadId=")]
    fill(store, "clips/a", content)
    assert proxy.faults[0].seen == 1
    assert store.names("clips") == {"a": len(content)}


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_creation_whose_reply_was_lost_is_ours(faulty, times):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [Fault("lost", "PUT", "clips/a", times)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == times
    assert not store.put_if_absent("clips/a", b"theirs")


def test_a_probe_whose_reply_was_lost_finds_out_all_the_same(faulty):
    new, proxy = faulty
    proxy.faults = [Fault("lost", "PUT", PROBE_NAME, 1)]
    assert new().has_conditional_put


def test_a_conflict_is_tried_again(faulty):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [Fault("conflict", "PUT", "clips/a", 3)]
    assert store.put_if_absent("clips/a", b"mine")
    assert proxy.faults[0].seen == 3


def test_a_server_that_ignores_the_condition_is_found_out(moto, proxied):
    """On the stand-in, which does not check that the header that is left out was signed."""
    new, proxy = proxied(moto)
    proxy.faults = [Fault("ignore_condition", "PUT", "", 1000)]
    store = new()
    assert not store.has_conditional_put
    assert store.put_if_absent("clips/a", b"first")
    assert not store.put_if_absent("clips/a", b"second")
    assert "no conditional put" in store.notes()[0]
    with store.lock():
        pass


def test_a_store_that_is_out_of_order_for_a_while_is_waited_for(faulty):
    new, proxy = faulty
    store = new()
    store.create(())
    proxy.faults = [
        Fault("unavailable", method, part, 4)
        for method, part in (("PUT", "clips/a"), ("GET", "clips/a"), ("GET", "list-type"))
    ]
    fill(store, "clips/a", b"12345")
    assert store.read("clips/a") == b"12345"
    assert store.names("clips") == {"a": 5}
    assert [fault.seen for fault in proxy.faults] == [4, 4, 4]


def test_a_store_that_stays_out_of_order_fails_within_the_budget_and_says_so(faulty):
    new, proxy = faulty
    store = new(timeout_s=1.0)
    store.create(())
    proxy.faults = [Fault("unavailable", method, "clips", 1000) for method in ("PUT", "GET")]
    for ask in (
        lambda: fill(store, "clips/a", b""),
        lambda: store.put_if_absent("clips/a", b""),
        lambda: store.read("clips/a"),
        lambda: store.names("clips"),
    ):
        with pytest.raises(StoreError) as raised:
            ask()
        assert f"{store.location}/clips" in str(raised.value)
        assert "tried for 1 s (--store-timeout-s)" in str(raised.value)
        assert SECRET not in str(raised.value)


def test_a_bucket_that_is_not_there_is_named(server):
    store = RemoteStore("s3://no-such-bucket-here/t", server.storage())
    for ask in (store.entries, lambda: store.create(()), lambda: store.read("a")):
        with pytest.raises(UsageError, match="s3://no-such-bucket-here/t: there is no such bucket"):
            ask()


def test_wrong_credentials_are_told_and_not_shown(gateway):
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
    with pytest.raises(UsageError, match=r"has a password in it") as raised:
        open_store("ftp://me:hidden@host/table", Storage())
    assert "hidden" not in str(raised.value)


def test_file_uris_are_local(tmp_path):
    store = open_store(f"file://{tmp_path}/a%20table", Storage())
    assert store.location == str(tmp_path / "a table")
