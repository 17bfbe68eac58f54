"""A run whose decoders find the disk full on the nodes that an environment variable marks.

A module of its own, as Ray's workers import it.
"""

import os
from collections.abc import Iterator
from typing import Any

from jobs.bench.null_model import synthetic_packets
from jobs.bench.overhead import NullRun
from jobs.worker.node_fault import fault_here
from jobs.worker.run_model import Decode
from pipeline.errors import HostError
from pipeline.stream.events import Event

MARK = "DISK_OF_THIS_NODE_IS_FULL"


class RunWithFullDisks(NullRun):
    """A run without decoders and model, and with full disks."""

    @property
    def decode(self) -> Decode:
        return decode_unless_full


def decode_unless_full(*args: Any) -> Iterator[list[Event]]:
    if os.environ.get(MARK):
        raise fault_here(HostError("no space left in /tmp (TMPDIR)"))
    yield from synthetic_packets(*args)
