"""`pipeline.signed`: what stays of a URL, and which are refused."""

import pytest

from pipeline.errors import UsageError
from pipeline.signed import refuse_password, without_signature
from pipeline.storage import Storage


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
def test_a_signature_goes_and_the_rest_stays(url, kept):
    assert without_signature(url) == kept


@pytest.mark.parametrize(
    "uri", ["https://u:s3cret@h/a.wav", "s3://KEY:s3cret@bucket/a", "s3://KEY:a/s3cret+/@bucket/a"]
)
def test_a_password_is_refused_and_not_repeated(uri):
    with pytest.raises(UsageError, match="--storage-options") as raised:
        refuse_password(uri)
    assert "s3cret" not in str(raised.value)
    assert "KEY" not in str(raised.value)
    assert "s3cret" not in Storage().redacted(f"source {uri} cannot be listed")


@pytest.mark.parametrize("uri", ["https://h:80/a@b.wav", "s3://bucket/a:b@c", "az://c@account/a"])
def test_what_is_no_password_is_let_through(uri):
    refuse_password(uri)
