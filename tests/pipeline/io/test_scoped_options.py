"""Tests of options and credentials for one host: which host receives them, also on redirects."""

import json

import pytest

from pipeline.errors import UsageError
from pipeline.io import named_hosts
from pipeline.io.storage import Storage
from pipeline.io.storage_options import parse_options
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.hosts import run_host

AUDIO = b"RIFF and so on"
KEY, COOKIE, BASIC = "k3y-of-the-tests", "c00kie-of-the-tests", "Basic dTpzM2NyZXQtcGFzcw=="
SECRETS = json.dumps(
    {"headers": {"X-Api-Key": KEY}, "cookies": {"session": COOKIE}, "auth": ["u", "s3cret-pass"]}
)


@pytest.fixture(autouse=True)
def _forget_failures():
    named_hosts.forget_failures()


@pytest.fixture
def hosts():
    answers = {"/x.wav": AUDIO, "/private/y.wav": AUDIO}
    with run_host(answers) as one, run_host(answers, "127.0.0.2") as other:
        yield one, other


def check_listing(source, *options):
    storage = Storage(parse_options(options), timeout_s=1.0)
    listing = list_sources([str(source)], SourceOptions(storage=storage))
    assert not [clip.failure for clip in listing.clips if clip.failure]


def received_secrets(host):
    """Return the secrets that a server has received."""
    seen = json.dumps([headers for _, _, headers in host.requests])
    return {name for name in (KEY, COOKIE, BASIC) if name in seen}


def write_manifest(folder, *uris):
    path = folder / "list.csv"
    path.write_text("\n".join(["uri", *uris]) + "\n")
    return path


ALL_SECRETS = {KEY, COOKIE, BASIC}


def test_credentials_are_sent_only_to_hosts_that_the_user_named(hosts, tmp_path):
    mine, theirs = hosts
    mine.answers["/list.csv"] = f"uri\nx.wav\n{theirs.url}/x.wav\n".encode()
    check_listing(f"{mine.url}/list.csv", f"client_kwargs={SECRETS}")
    assert mine.request_headers("/x.wav")
    assert theirs.request_headers("/x.wav")
    assert (received_secrets(mine), received_secrets(theirs)) == (ALL_SECRETS, set())


def test_credentials_are_not_sent_to_hosts_of_a_local_list(hosts, tmp_path):
    one, other = hosts
    source = write_manifest(tmp_path, f"{one.url}/x.wav", f"{other.url}/x.wav")
    check_listing(source, f"client_kwargs={SECRETS}")
    assert (received_secrets(one), received_secrets(other)) == (set(), set())
    check_listing(
        source, *(f"{name}={json.dumps(value)}" for name, value in json.loads(SECRETS).items())
    )
    assert (received_secrets(one), received_secrets(other)) == (set(), set())


def test_credentials_of_a_prefix_are_sent_only_to_urls_under_it(hosts, tmp_path):
    one, other = hosts
    source = write_manifest(
        tmp_path, f"{one.url}/x.wav", f"{one.url}/private/y.wav", f"{other.url}/private/y.wav"
    )
    check_listing(source, f"{one.url}/private:client_kwargs={SECRETS}")
    assert {name for h in one.request_headers("/private/y.wav") for name in h} >= {"X-Api-Key"}
    assert not any("X-Api-Key" in headers for headers in one.request_headers("/x.wav"))
    assert received_secrets(other) == set()


def test_redirect_to_another_host_drops_all_credentials(hosts, tmp_path):
    mine, theirs = hosts
    mine.answers["/moved.wav"] = f"{theirs.url}/x.wav"
    check_listing(f"{mine.url}/moved.wav", f"client_kwargs={SECRETS}")
    assert theirs.request_headers("/x.wav")
    assert (received_secrets(mine), received_secrets(theirs)) == (ALL_SECRETS, set())


def test_redirect_to_another_port_drops_all_credentials(tmp_path):
    with run_host({"/x.wav": AUDIO}) as theirs, run_host() as mine:
        mine.answers["/moved.wav"] = f"{theirs.url}/x.wav"
        check_listing(f"{mine.url}/moved.wav", f"headers={json.dumps({'Authorization': BASIC})}")
        assert (received_secrets(mine), received_secrets(theirs)) == ({BASIC}, set())


def test_redirect_within_a_host_keeps_its_credentials(hosts):
    mine, _ = hosts
    mine.answers["/moved.wav"] = "/private/y.wav"
    check_listing(f"{mine.url}/moved.wav", f"client_kwargs={SECRETS}")
    assert all("X-Api-Key" in headers for headers in mine.request_headers("/private/y.wav"))


def test_host_with_the_same_beginning_is_another_host():
    storage = Storage(parse_options(["https://api.example.org/:key=1", "s3://private/:key=2"]))
    assert storage.options_of("https://api.example.org/x") == {"key": 1}
    assert storage.options_of("https://api.example.org.evil.net/x") == {}
    assert storage.options_of("https://api.example.org:8443/x") == {}
    assert storage.options_of("s3://private/a/b") == {"key": 2}
    assert storage.options_of("s3://private2/a") == {}


def test_options_of_a_prefix_are_merged_with_options_of_all_stores():
    given = ["anon=true", "s3://:endpoint_url=http://h", "s3://b/p/:anon=false", 's3://b:x={"a":1}']
    storage = Storage(parse_options(given))
    assert storage.options_of("s3://b/p/q") == {
        "anon": False, "endpoint_url": "http://h", "x": {"a": 1},
    }  # fmt: skip
    assert storage.options_of("s3://c/p") == {"anon": True, "endpoint_url": "http://h"}
    assert storage.options_of("gs://b/p") == {"anon": True}


def test_options_for_another_store_are_ignored_by_http(hosts, tmp_path):
    source = write_manifest(tmp_path, f"{hosts[0].url}/x.wav")
    check_listing(
        source, "key=abcdefghijk", "secret=lmnopqrstuv", "endpoint_url=http://127.0.0.1:1"
    )


@pytest.mark.parametrize("given", ["anon", "=x", "https://h/=x", "https://h/:=x"])
def test_malformed_option_is_refused_without_printing_its_value(given):
    with pytest.raises(UsageError, match="NAME=VALUE"):
        parse_options([given])


def test_values_of_headers_and_scoped_options_are_redacted():
    storage = Storage(
        parse_options([f"client_kwargs={SECRETS}", "https://h/:token=t0ken-of-one-host"])
    )
    text = f"{KEY} {COOKIE} s3cret-pass t0ken-of-one-host"
    assert storage.redact(text) == "*** *** *** ***"
    assert KEY not in repr(storage)
