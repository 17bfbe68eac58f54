"""A run's hold of a table, in a form that every process of the run can check before it commits.

A run that stood still (a stopped process, a suspended machine, a network that was cut) does not
know that another run has taken the table. So each commit asks the store whether the hold still
counts, after the data files are written and right before the record is put.
"""

import time
from dataclasses import dataclass

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Hold:
    """The identity of one run's hold.

    Attributes:
        number: Number of the hold. It is greater than that of every earlier run, unless a person
            deletes the files that count holds.
        token: Random text of this run alone.
    """

    number: int
    token: str


def elapsed_s() -> float:
    """Return seconds of a clock that is never set, and that runs while the machine sleeps."""
    return time.clock_gettime(_CLOCK)
