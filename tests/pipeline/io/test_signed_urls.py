"""Tests of `pipeline.io.signed_urls`: which parts of a URL are kept, and which URLs are refused."""

import pytest

from pipeline.errors import UsageError
from pipeline.io.signed_urls import QueryRule, refuse_password, strip_signature
from pipeline.io.storage import Storage
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.hosts import run_host


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/a.wav", "https://h/a.wav"),
        ("https://h/a.wav?id=3&page=", "https://h/a.wav?id=3&page="),
        ("https://h/a%20b.wav?X-Amz-Signature=1&X-Amz-Credential=k%2F2", "https://h/a%20b.wav"),
        ("https://h/a.wav?id=3&AWSAccessKeyId=k&Signature=s&Expires=9", "https://h/a.wav?id=3"),
        ("https://h/c/a.wav?sv=2024&se=9&sr=b&sp=r&sig=x%3D", "https://h/c/a.wav"),
        ("https://h/a.wav?se=9&sp=r", "https://h/a.wav?se=9&sp=r"),
        ("https://h/a.wav?X-Goog-Signature=1&x-id=GetObject", "https://h/a.wav?x-id=GetObject"),
        ("https://h/a.wav?access_token=1&api_key=2&id=4", "https://h/a.wav?id=4"),
        ("s3://bucket/a.wav?sig=this is a name", "s3://bucket/a.wav?sig=this is a name"),
    ],
)
def test_signature_is_removed_and_the_rest_kept(url, kept):
    assert strip_signature(url) == kept


@pytest.mark.parametrize(
    "uri", ["https://u:s3cret@h/a.wav", "s3://KEY:s3cret@bucket/a", "s3://KEY:a/s3cret+/@bucket/a"]
)
def test_password_is_refused_and_not_printed(uri):
    with pytest.raises(UsageError, match="--storage-options") as raised:
        refuse_password(uri)
    assert "s3cret" not in str(raised.value)
    assert "KEY" not in str(raised.value)
    assert "s3cret" not in Storage().redact(f"source {uri} cannot be listed")


@pytest.mark.parametrize("uri", ["https://h:80/a@b.wav", "s3://bucket/a:b@c", "az://c@account/a"])
def test_uri_without_a_password_is_accepted(uri):
    refuse_password(uri)


SECRET_NAMES = [
    *("access_key", "AccessKeyId", "OSSAccessKeyId", "q-ak", "key", "jwt", "code", "authorization"),
    *("credential", "sign", "auth_key", "hash", "ticket", "api-key", "pass", "pwd", "bearer"),
    *("__token__", "hdnts", "access_token", "X-Amz-Security-Token", "x-oss-signature", "sessionid"),
    *("client_secret", "id_token", "refresh_token", "password", "q-signature", "Key-Pair-Id"),
    *("%6Bey", "txSecret", "wsTime", "private_key", "credentials", "aws_access_key_id"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_parameters_are_neither_kept_nor_printed(name):
    secret = "hidd3n"
    url = f"https://h/a.wav?id=3&{name}={secret}&page=2"
    assert strip_signature(url) == "https://h/a.wav?id=3&page=2"
    assert strip_signature(f"https://h/a.wav?{name.upper()}={secret}") == "https://h/a.wav"
    if "%" not in name:
        assert secret not in Storage().redact(f"GET {url}: no answer")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/a.wav#access_token=abc&t=10", "https://h/a.wav#t=10"),
        ("https://h/a.wav?id=1#t=10,20", "https://h/a.wav?id=1#t=10,20"),
        ("https://h/a.wav?x=eyJhbGciOi.eyJzdWIi.c2ln&id=1", "https://h/a.wav?id=1"),
        ("https://h/a.wav?x=Bearer%20abcdefgh&id=1", "https://h/a.wav?id=1"),
        ("http://[::1/a.wav?sig=abc", "http://[::1/a.wav"),
        ("HTTPS://H/a.wav?sig=1", "https://H/a.wav"),
        (
            "https://h/a.wav?keyword=x&author=y&hashtag=z",
            "https://h/a.wav?keyword=x&author=y&hashtag=z",
        ),
    ],
)
def test_tokens_in_any_position_are_removed(url, kept):
    assert strip_signature(url) == kept


@pytest.mark.parametrize(
    "uri", ["https://ghp_T0ken@h/a.wav", "https://T0ken:@h/a", "s3://T0ken@b/a"]
)
def test_token_before_the_host_is_refused_and_not_printed(uri):
    with pytest.raises(UsageError, match="--storage-options") as raised:
        refuse_password(uri)
    assert "T0ken" not in str(raised.value)


def test_rule_decides_which_parameters_are_kept():
    url = "https://h/a?key=1&id=2&v=3"
    assert strip_signature(url, QueryRule(keep=("key",))) == url
    assert strip_signature(url, QueryRule(strip=("v",))) == "https://h/a?id=2"
    assert strip_signature(url, QueryRule(strip=("all",))) == "https://h/a"
    assert strip_signature(url, QueryRule(keep=("id",), strip=("all",))) == "https://h/a?id=2"


def test_urls_that_differ_only_in_a_possible_secret_need_a_rule(tmp_path):
    manifest = tmp_path / "list.csv"
    with run_host({"/get": b"RIFF and so on"}) as host:
        urls = [f"{host.url}/get?key=one.wav", f"{host.url}/get?key=two.wav"]
        manifest.write_text("\n".join(["uri", *urls]))

        def list_clips(rule):
            return list_sources([str(manifest)], SourceOptions(query=rule)).clips

        with pytest.raises(UsageError, match=r"line 2 and .*line 3 .*'key'.* --keep-query key"):
            list_clips(QueryRule())
        assert [clip.uri for clip in list_clips(QueryRule(keep=("key",)))] == urls
        assert len(list_clips(QueryRule(strip=("key",)))) == 1
        signed_twice = [f"{host.url}/get?id=1&sig={i}" for i in range(2)]
        manifest.write_text("\n".join(["uri", *signed_twice]))
        assert len(list_clips(QueryRule())) == 1


def test_short_values_of_keys_are_not_redacted(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    storage = Storage((("key", "tests"), ("secret", "long-enough")))
    assert storage.redact("/tests/testing/test.wav") == "/tests/testing/test.wav"
    assert storage.redact("a long-enough secret") == "a *** secret"
