"""`pipeline.planning.request_counts`: the arithmetic; each number is derived beside it."""

from pipeline.clips import ClipRef, Container
from pipeline.io.objects import PIECE_BYTES
from pipeline.planning.plan import plan_shards
from pipeline.planning.request_counts import OPENING, source_requests, table_requests

MD5 = "0" * 32


def test_what_lies_here_costs_nothing():
    shards = plan_shards([ClipRef("/a.wav", "1-1")], "0", 10, [Container("/a.tar", "1", "tar")])
    assert source_requests(shards, 0).total() == 0


def test_sources():
    clips = [
        ClipRef("s3://b/a.wav", MD5, n_bytes=10),
        ClipRef("s3://b/b.wav", f"{MD5}-2", n_bytes=2 * PIECE_BYTES + 1),
        *(ClipRef("s3://b/c.wav", MD5, f"t={i}.0,9.0", n_bytes=10) for i in range(5)),
    ]
    asked = source_requests(plan_shards(clips, "0", 100), n_listed=1001)
    # One piece, three pieces, and one for all five spans; the etag of parts is asked for again.
    assert asked == {"LIST": 2, "GET": 1 + 3 + 1, "HEAD": 1 + 2 + 1}


def test_tables():
    asked = table_requests(n_shards=10, n_error_shards=3, file_bytes=[1000.0, 1000.0])
    # Two files and a commit record a shard, and three files of errors.
    assert asked["PUT"] == OPENING["PUT"] + 10 * 3 + 3
    assert asked["DELETE"] == OPENING["DELETE"] + 7
