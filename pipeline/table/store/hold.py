"""A run's hold of a table, in a form that every process of the run can check before it commits.

A run that stood still (a stopped process, a suspended machine, a network that was cut) does not
know that another run has taken the table over. So each commit asks the store, after the data files
are written and right before the record is put, whether the hold still counts.
"""

import time
from dataclasses import dataclass

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Hold:
    """What identifies the hold of one run.

    Attributes:
        number: Number of the hold; greater than that of every earlier run, as long as nobody
            deletes the files that count them.
        token: Random text of this run alone.
    """

    number: int
    token: str


def elapsed_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)
