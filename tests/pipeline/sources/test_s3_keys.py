"""Tests of S3 listings: keys with unusual names, and the prefixes that a glob requests."""

import pytest

from pipeline.io.objects import FsspecObject
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions


@pytest.fixture
def bucket(moto):
    return moto.new_bucket()


@pytest.fixture
def files(moto, bucket):
    return moto.storage().filesystem(bucket)


def put(files, bucket, *keys, content=b"abc"):
    for key in keys:
        files.call_s3("put_object", Bucket=bucket.removeprefix("s3://"), Key=key, Body=content)


def listed(moto, *sources):
    return list_sources([str(source) for source in sources], SourceOptions(storage=moto.storage()))


def keys(listing, bucket):
    return [clip.uri.removeprefix(f"{bucket}/") for clip in listing.clips]


def test_a_key_that_ends_like_a_version_id_is_read_by_its_full_name(moto, bucket, files, tmp_path):
    put(files, bucket, "v/a.wav", content=b"other")
    put(files, bucket, "v/a.wav?versionId=1")
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"uri\n{bucket}/v/a.wav?versionId=1\n")
    for source in (f"{bucket}/v/a.wav?versionId=1", f"{bucket}/v/*=1", manifest):
        (clip,) = listed(moto, source).clips
        assert clip.uri == f"{bucket}/v/a.wav?versionId=1"
        assert clip.version == "900150983cd24fb0d6963f7d28e17f72"
        assert b"".join(FsspecObject(clip.uri, moto.storage()).pieces()) == b"abc"


def test_an_object_named_like_a_folder_is_counted_unless_it_is_empty(moto, bucket, files):
    put(files, bucket, "f/a.wav", "f/b.wav/", "f/sub/")
    put(files, bucket, "f/empty/", content=b"")
    for source in (f"{bucket}/f", f"{bucket}/f/*"):
        listing = listed(moto, source)
        assert keys(listing, bucket) == ["f/a.wav"]
        assert listing.skipped == {"names that end in /": 2}


@pytest.mark.parametrize(
    ("pattern", "expected", "prefixes"),
    [
        ("dir/a*.wav", ["dir/a1.wav", "dir/a2.wav"], ["dir/a"]),
        ("dir/a*", ["dir/a1.wav", "dir/a2.wav", "dir/az/deep.wav"], ["dir/a", "dir/az/"]),
        ("dir/a?.wav", ["dir/a1.wav", "dir/a2.wav"], ["dir/a"]),
        ("dir/[ab]1.wav", ["dir/a1.wav", "dir/b1.wav"], ["dir/"]),
        ("d*/a*.wav", ["dir/a1.wav", "dir/a2.wav"], ["d", "dir/a"]),
        ("d*/az/deep.wav", ["dir/az/deep.wav"], ["d"]),
        ("d*/az/d*", ["dir/az/deep.wav"], ["d", "dir/az/d"]),
        ("d*/*z/deep.wav", ["dir/az/deep.wav"], ["d", "dir/"]),
        ("dir/az/**", ["dir/az/deep.wav"], None),
    ],
)
def test_a_glob_lists_only_the_prefix_before_its_wildcard(
    moto, bucket, files, pattern, expected, prefixes
):
    put(files, bucket, "dir/a1.wav", "dir/a2.wav", "dir/az/deep.wav", "dir/b1.wav", "e/a1.wav")
    requested = []

    def record_prefix(params, **_):
        query = params["query_string"]
        if query.get("max-keys") != 1:
            requested.append(query["prefix"])

    events = files.s3.meta.events
    events.register("before-call.s3.ListObjectsV2", record_prefix)
    try:
        listing = listed(moto, f"{bucket}/{pattern}")
    finally:
        events.unregister("before-call.s3.ListObjectsV2", record_prefix)
    assert keys(listing, bucket) == expected
    assert prefixes is None or sorted(requested) == prefixes
