"""The identity of a process for other processes, and whether it is known to have ended."""

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One process on one machine.

    Attributes:
        host: Name of the machine.
        pid: Process id on that machine.
        place: Boot id of the machine and the pid namespace, in which `pid` is unique.
    """

    host: str
    pid: int
    place: str

    @classmethod
    def this(cls) -> "Process":
        """Return the identity of this process."""
        return Process(socket.gethostname(), os.getpid(), place())

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; False where this machine cannot tell."""
        if not self.place or self.place != place():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False

    def __str__(self) -> str:
        return f"host {self.host}, process {self.pid}"


def place() -> str:
    """Return the boot id and pid namespace of this process; empty where they are unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
