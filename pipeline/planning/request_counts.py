"""The number of requests that a run sends to stores, by kind, as stores charge for them.

Counts follow the code that sends them (`readers.download`, `readers.container_file`,
`table.row_writer`, `table.table`), on S3 and without retries. Local sources and tables cost none.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.clips import Container, group_by_recording
from pipeline.io.objects import PIECE_BYTES
from pipeline.io.protocols import S3_PROTOCOLS, is_remote, protocol_of
from pipeline.io.upload import PART_BYTES
from pipeline.readers.container_file import REQUEST_BYTES
from pipeline.shards import Shard

LISTED_AT_ONCE = 1000
_MD5 = re.compile(r"[0-9a-f]{32}")
_FOOTER_READS = 2
"""Reads of a Parquet file before its rows: its end, and where its columns begin."""
OPENING = Counter(LIST=18, GET=8, PUT=11, HEAD=0, DELETE=0)
"""Requests of any run: for the spec, the lease, the record of the run, and the committed shards.

Counted once, at a server; a run of hours renews its lease as well.
"""


def source_requests(shards: Iterable[Shard], n_listed: int) -> Counter[str]:
    """Count the requests that list the sources and read the files of shards.

    Args:
        shards: Shards to embed.
        n_listed: Number of remote objects that the listing went through.
    """
    asked: Counter[str] = Counter(LIST=math.ceil(n_listed / LISTED_AT_ONCE))
    for shard in shards:
        if shard.container and is_remote(shard.container.uri):
            asked.update(_container_requests(shard.container))
        for refs in group_by_recording(shard.clips):
            first = refs[0]
            if is_remote(first.uri):
                asked["GET"] += max(1, math.ceil((first.n_bytes or 0) / PIECE_BYTES))
                # An etag that is no MD5 does not prove the bytes, so one more request checks them.
                asked["HEAD"] += 1 if _MD5.fullmatch(first.version) else 2
    return asked


def table_requests(n_shards: int, n_error_shards: int, file_bytes: Sequence[float]) -> Counter[str]:
    """Count the requests that write shards into a remote table.

    Args:
        n_shards: Number of shards.
        n_error_shards: Number of shards that have clips in `errors`.
        file_bytes: Size in bytes of one file of each folder of the table, except `errors`.
    """
    asked = Counter(OPENING)
    parts = [math.ceil(n / PART_BYTES) for n in file_bytes]
    # A large file goes in parts, between a request that begins them and one that ends them.
    puts = sum(part + 2 if part > 1 else 1 for part in parts)
    n_files = n_shards * len(parts) + n_error_shards
    asked["PUT"] += n_shards * (puts + 1) + n_error_shards
    asked["HEAD"] += n_files + n_shards
    # A file of `errors` that an earlier attempt may have left is removed.
    asked["LIST"] += n_shards
    asked["DELETE"] += n_shards - n_error_shards
    asked["GET"] += n_shards  # each commit reads the run's lease
    return asked


def _container_requests(container: Container) -> Counter[str]:
    """Count the requests that read a container."""
    n_bytes = container.n_bytes
    n_ranges = max(1, math.ceil((n_bytes or 0) / REQUEST_BYTES))
    n_ranges += _FOOTER_READS if container.kind == "parquet" else 0
    if protocol_of(container.uri) in S3_PROTOCOLS:
        return Counter(HEAD=3, GET=n_ranges)
    # Other stores are asked for the version after each range.
    return Counter(HEAD=2 + n_ranges, GET=n_ranges)
