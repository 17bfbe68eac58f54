"""Tests of `pipeline.io.versions`: the version of a file from a store's properties."""

from datetime import UTC, datetime

import pytest

from pipeline.io.versions import info_version


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"ETag": '"abc-2"', "size": 1, "LastModified": datetime(2026, 1, 1)}, "abc-2"),
        ({"ETag": 'W/"abc"'}, "abc"),
        ({"etag": "CJ/x=", "size": 1}, "CJ/x="),
        ({"size": 5, "created": 1.5}, "5-1.500000"),
        ({"size": 5, "created": datetime.fromtimestamp(1.5, UTC)}, "5-1.500000"),
        ({"size": 5, "Last-Modified": "Thu, 01 Jan 2026"}, "5-Thu, 01 Jan 2026"),
        ({"size": None}, "None-"),
    ],
)
def test_version_is_the_etag_or_else_size_and_time(info, version):
    assert info_version(info) == version
