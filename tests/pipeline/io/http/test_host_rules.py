"""Tests of `host_rules`: hosts, buckets and local files that lists and redirects may name."""

from dataclasses import replace

import pytest

from pipeline.errors import ClipError
from pipeline.io import named_hosts
from pipeline.io.http.host_rules import HostRules, is_private, origin_of
from pipeline.io.storage import Storage
from pipeline.readers.clip_file import open_clip
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.hosts import run_host

AUDIO = b"RIFF and so on"
ANY_SIZE = 1 << 40


@pytest.fixture(autouse=True)
def _forget_failures():
    named_hosts.forget_failures()


@pytest.fixture
def host():
    with run_host({"/sound.wav": AUDIO}) as host:
        yield host


def list_clips(folder, *uris, rules=HostRules(), timeout_s=0.4):  # noqa: B008 (frozen)
    path = folder / "list.csv"
    path.write_text("\n".join(["uri", *uris]) + "\n")
    storage = Storage(timeout_s=timeout_s, rules=rules)
    return list_sources([str(path)], SourceOptions(storage=storage)).clips


def refused_uris(clips):
    return {clip.uri for clip in clips if clip.failure and clip.failure[0] == "not_allowed"}


METADATA = [
    "http://169.254.169.254/latest/meta-data/x.wav",
    "http://[fe80::1]/x.wav",
    "http://[::ffff:169.254.169.254]/x.wav",
    "http://[64:ff9b::a9fe:a9fe]/x.wav",
    "http://[fd00:ec2::254]/x.wav",
    "http://100.100.100.200/x.wav",
    "http://metadata.google.internal/x.wav",
    "http://METADATA.google.internal./x.wav",
    "http://0.0.0.0/x.wav",
    "http://2852039166/x.wav",
    "http://0xa9fea9fe/x.wav",
]


def test_metadata_addresses_in_a_list_are_refused(host, tmp_path):
    clips = list_clips(tmp_path, *METADATA, f"{host.url}/sound.wav")
    assert refused_uris(clips) == set(METADATA)
    message = next(clip.failure[1] for clip in clips if clip.uri == METADATA[0])
    assert "169.254.169.254" in message
    assert "--allow-hosts" in message


def test_loopback_and_local_network_are_allowed_by_default(host, tmp_path):
    assert not refused_uris(list_clips(tmp_path, f"{host.url}/sound.wav"))
    for uri in ("http://10.0.0.1/x.wav", "https://nas.example.org/x.wav", "s3://bucket/x.wav"):
        assert HostRules().refusal(uri) == ""


def test_allow_hosts_refuses_every_other_host_and_bucket(host, tmp_path):
    uris = [f"{host.url}/sound.wav", "https://evil.example/x.wav", "s3://theirs/x.wav"]
    rules = HostRules(hosts=("127.0.0.1", "s3://ours"))
    assert refused_uris(list_clips(tmp_path, *uris, "here.wav", rules=rules)) == set(uris[1:])


@pytest.mark.parametrize(
    ("pattern", "uri", "is_allowed"),
    [
        ("example.org", "https://example.org/x", True),
        ("example.org", "https://EXAMPLE.org.:8443/x", True),
        ("example.org", "https://example.org.evil.net/x", False),
        ("example.org", "https://a.example.org/x", False),
        ("example.org", "https://example.org@evil.net/x", False),
        ("*.cdn.net", "https://a.b.cdn.net/x", True),
        ("*.cdn.net", "https://cdn.net/x", False),
        ("*.cdn.net", "https://cdn.net.evil.org/a.cdn.net", False),
        ("example.org:8443", "https://example.org:8443/x", True),
        ("example.org:8443", "https://example.org/x", False),
        ("https://example.org", "https://example.org/x", True),
        ("10.1.0.0/16", "http://10.1.2.3/x", True),
        ("10.1.0.0/16", "http://10.2.2.3/x", False),
        ("169.254.169.254", "http://169.254.169.254/x", True),
        ("[::1]:80", "http://[::1]/x", True),
        ("::1", "http://[::1]:8080/x", True),
        ("bücher.example", "https://xn--bcher-kva.example/x", True),
        ("s3://ours", "s3a://ours/x", True),
        ("s3://ours", "s3://ours2/x", False),
        ("s3://ours-*", "s3://ours-2/x", True),
        ("*", "https://any.example/x", True),
        ("*", "gs://any/x", True),
        ("example.org", "gs://example.org/x", False),
    ],
)
def test_host_is_allowed_by_name_port_network_or_pattern(pattern, uri, is_allowed):
    assert (HostRules(hosts=(pattern,)).refusal(uri) == "") == is_allowed


def test_hosts_of_own_sources_are_always_allowed():
    rules = HostRules(hosts=("example.org",)).with_own_hosts(
        ["https://mine.org/list.csv", "s3://mine/t"]
    )
    assert rules.refusal("https://mine.org/x.wav") == ""
    assert rules.refusal("s3://mine/x.wav") == ""
    assert rules.refusal("https://other.org/x.wav")


def test_no_local_refuses_paths_and_file_uris(host, tmp_path):
    (tmp_path / "here.wav").write_bytes(AUDIO)
    local = ["here.wav", f"file://{tmp_path}/there.wav", "/etc/hostname", "../x.wav"]
    clips = list_clips(tmp_path, *local, f"{host.url}/sound.wav", rules=HostRules(no_local=True))
    assert len(refused_uris(clips)) == 4
    assert {clip.version for clip in clips if clip.failure} == {"missing"}
    for clip in clips:
        if clip.failure:
            assert "--no-local" in clip.failure[1]
            with pytest.raises(ClipError, match="--no-local"), open_clip(clip, Storage(), ANY_SIZE):
                pass


def test_redirect_to_a_refused_address_is_refused(host, tmp_path):
    host.answers |= {
        "/a.wav": "http://169.254.169.254/latest/x.wav",
        "/b.wav": "file:///etc/hostname",
        "/c.wav": "ftp://127.0.0.1/x.wav",
    }
    uris = [f"{host.url}/{name}.wav" for name in "abc"]
    assert refused_uris(list_clips(tmp_path, *uris, f"{host.url}/sound.wav")) == set(uris)


def test_redirect_to_a_host_that_is_not_allowed_is_refused(host, tmp_path):
    with run_host({"/x.wav": AUDIO}, "127.0.0.2") as other:
        host.answers["/moved.wav"] = f"{other.url}/x.wav"
        uri = f"{host.url}/moved.wav"
        one_host = HostRules(hosts=("127.0.0.1",))
        clips = list_clips(tmp_path, uri, f"{host.url}/sound.wav", rules=one_host)
        assert refused_uris(clips) == {uri}
        assert not other.requests
        two_hosts = replace(one_host, hosts=("127.0.0.1", "127.0.0.2"))
        assert not refused_uris(list_clips(tmp_path, uri, rules=two_hosts))


def test_public_host_may_not_redirect_into_the_local_network():
    rules = HostRules()
    for address in ("127.0.0.1", "10.0.0.1", "::1", "192.168.1.1", "::ffff:10.0.0.1"):
        assert is_private(address)
        assert rules.address_refusal("inside.example", 80, address, is_public_only=True)
        assert not rules.address_refusal("inside.example", 80, address, is_public_only=False)
    assert not rules.address_refusal("cdn.example", 80, "93.184.216.34", is_public_only=True)


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://H.example/x", "https://h.example:443"),
        ("http://h:8080/x?y", "http://h:8080"),
        ("S3A://bucket/key", "s3://bucket"),
        ("/a/path", ""),
        ("file:///a", ""),
        ("http://[::1", ""),
        ("http://h:99999/x", ""),
        ("http:///x", ""),
    ],
)
def test_origin_of_a_uri(uri, origin):
    assert origin_of(uri) == origin
