"""A run whose decoders fail with a full disk on nodes that have an environment variable.

It is a module of its own because Ray's workers import it.
"""

import os
from collections.abc import Iterator
from typing import Any

from jobs.bench.null_model import synthetic_packets
from jobs.bench.overhead import NullRun
from jobs.worker.node_fault import to_node_fault
from jobs.worker.run_model import Decode
from pipeline.errors import HostError
from pipeline.stream.events import Event

# Environment variable that marks a node with a full disk.
FULL_DISK_VARIABLE = "DISK_OF_THIS_NODE_IS_FULL"


class RunWithFullDisks(NullRun):
    """A run without decoders and model, in which some nodes have full disks."""

    @property
    def decode(self) -> Decode:
        return decode_unless_full


def decode_unless_full(*args: Any) -> Iterator[list[Event]]:
    if os.environ.get(FULL_DISK_VARIABLE):
        raise to_node_fault(HostError("no space left in /tmp (TMPDIR)"))
    yield from synthetic_packets(*args)
