"""The decode task of a shard on Ray.

In a module of its own, as its process imports what the module does: with the model's code that
would be torch, which takes seconds and hundreds of megabytes.
"""

from collections.abc import Iterator

from jobs.settings.sent_config import forget_config
from pipeline.errors import HostError
from pipeline.io.storage import Storage
from pipeline.readers.intake import Intake
from pipeline.readers.shard_reader import shard_recordings
from pipeline.shards import Shard
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import Event
from pipeline.stream.packets import PACKET_BYTES, shard_packets


def decode(
    shard: Shard,
    rule: DecodeRule,
    columns: tuple[str, ...],
    storage: Storage,
    poison: frozenset[int] = frozenset(),
    one_by_one: bool = False,
) -> Iterator[list[Event]]:
    """Packets of a shard; runs as a streaming task on any node.

    Args:
        shard: what to decode.
        rule: of the table.
        columns: of the table, that containers are to carry.
        storage: how remote locations are reached.
        poison: places of clips that are not to be decoded: they kill the process that does.
        one_by_one: each clip is told of before it is begun.

    Raises:
        StoreError: a store is out of order.
    """
    intake = Intake(rule.limits.max_clip_bytes)
    yield from shard_packets(
        shard_recordings(shard, storage, columns, intake),
        rule,
        packet_bytes=0 if one_by_one else PACKET_BYTES,
        poison=poison,
        passed_over=intake.passed_over,
    )


def decode_on_node(
    shard: Shard,
    rule: DecodeRule,
    columns: tuple[str, ...],
    storage: Storage,
    poison: frozenset[int] = frozenset(),
    one_by_one: bool = False,
) -> Iterator[list[Event]]:
    """As `decode`, in a process of Ray: a fault of the machine names its node.

    Raises:
        NodeFaultError: The node's disk is full, or it has another fault of its own.
        StoreError: A store is unavailable.
    """
    forget_config()
    try:
        yield from decode(shard, rule, columns, storage, poison, one_by_one)
    except HostError as error:
        from jobs.worker.node_fault import (
            fault_here,  # imports Ray, which a run in one process has not
        )

        raise fault_here(error) from error
