"""A process as others know it: by its host and number, and whether it is known to have ended."""

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One process on one machine.

    Attributes:
        host: name of the machine.
        pid: its number there.
        place: what tells this process number from others': the machine's boot and the namespace.
    """

    host: str
    pid: int
    place: str

    @classmethod
    def this(cls) -> "Process":
        """The process that asks."""
        return Process(socket.gethostname(), os.getpid(), place())

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended; False where nobody can tell from here."""
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
    """Where this process's number means something; empty where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
