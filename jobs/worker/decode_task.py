"""The decode task of a shard on Ray.

The task has a module of its own because its process imports everything that the module imports.
Next to the model's code that would include torch, which takes seconds and hundreds of megabytes.
"""

from collections.abc import Iterator

from jobs.settings.sent_config import remove_sent_config
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
    """Decode the clips of a shard to packets of events, as a streaming task on any node.

    Args:
        shard: The shard to decode.
        rule: Rule for decoding, from the table's spec and the run's limits.
        columns: Columns that the table copies from containers.
        storage: Access to remote locations.
        poison: Indices of clips that killed a decoder; they are not decoded again.
        one_by_one: Whether to yield each event in a packet of its own, so that the start of a clip
            is known before the clip is decoded.

    Yields:
        Packets: lists of events, in the order of the clips.

    Raises:
        StoreError: A store is unavailable.
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
    """Decode a shard like `decode` in a Ray worker, and add the node to faults of the machine.

    Args:
        shard: The shard to decode.
        rule: Rule for decoding, from the table's spec and the run's limits.
        columns: Columns that the table copies from containers.
        storage: Access to remote locations.
        poison: Indices of clips that killed a decoder; they are not decoded again.
        one_by_one: Whether to yield each event in a packet of its own.

    Yields:
        Packets: lists of events, in the order of the clips.

    Raises:
        NodeFaultError: The node's disk is full, or it has another fault of its own.
        StoreError: A store is unavailable.
    """
    remove_sent_config()
    try:
        yield from decode(shard, rule, columns, storage, poison, one_by_one)
    except HostError as error:
        # The module imports Ray, which a run with --in-process does not need.
        from jobs.worker.node_fault import to_node_fault

        raise to_node_fault(error) from error
