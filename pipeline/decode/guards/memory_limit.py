"""An upper limit for the memory that one step of a decoder may take.

A header of a few hundred bytes can make a decoder allocate gigabytes before it finds that the file
ends. The limit is the address space of the process (RLIMIT_AS): what it has now plus so much. It is
set around each step, opening the file or decoding the next piece, and taken back after it, because
the rest of the process, a model among it, must not be limited.
"""

import contextlib
import os
import resource
import threading
from collections.abc import Iterator

from pipeline.errors import CannotDecodeError

_PAGE_BYTES = resource.getpagesize()


class _AddressSpace:
    """The limit of this process, shared by all threads that decode at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_active = 0
        self._outer = resource.RLIM_INFINITY
        self._ceiling = 0

    def lower(self, n_bytes: int) -> bool:
        """Allow `n_bytes` more than the process has now.

        Returns:
            Whether the limit is ours; False where an outer limit is lower and stays in force.
        """
        with self._lock:
            if not self._n_active:
                self._outer, self._ceiling = resource.getrlimit(resource.RLIMIT_AS)[0], 0
            self._n_active += 1
            # A thread that begins later may take as much again.
            self._ceiling = max(self._ceiling, _address_space_bytes() + n_bytes)
            if self._outer != resource.RLIM_INFINITY and self._outer <= self._ceiling:
                return False
            _set_soft_limit(self._ceiling)
            return True

    def restore(self) -> None:
        """Take the limit back, once no thread decodes any more."""
        with self._lock:
            self._n_active -= 1
            if not self._n_active:
                _set_soft_limit(self._outer)


_ADDRESS_SPACE = _AddressSpace()


@contextlib.contextmanager
def limit_memory(n_bytes: int) -> Iterator[None]:
    """Run one step of a decoder with a limit on the memory that it may add to the process.

    Args:
        n_bytes: Memory that the step may take, in bytes.

    Raises:
        CannotDecodeError: The step asked for more (class `too_much_memory`).
        MemoryError: Memory ran out below the limit, which is not the file's fault.
    """
    is_ours = _ADDRESS_SPACE.lower(n_bytes)
    try:
        yield
    except MemoryError as error:
        if not is_ours:
            raise
        raise CannotDecodeError(
            "too_much_memory",
            f"decoding it takes more than {n_bytes / (1 << 30):g} GiB of memory at once, by damage "
            "or by intent; leave the file out, or raise --decoder-memory",
        ) from error
    finally:
        _ADDRESS_SPACE.restore()


class _StatmFile:
    """The file that tells the size of this process, kept open: it is read at every step."""

    def __init__(self) -> None:
        self._process_id = 0
        self._descriptor = -1

    def n_pages(self) -> int:
        if self._process_id != os.getpid():
            # After a fork the descriptor still tells of the parent, and is the parent's to close.
            self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._process_id = os.getpid()
        return int(os.pread(self._descriptor, 64, 0).split(b" ", 1)[0])


_STATM = _StatmFile()


def _address_space_bytes() -> int:
    return _STATM.n_pages() * _PAGE_BYTES


def _set_soft_limit(n_bytes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY and (n_bytes == resource.RLIM_INFINITY or n_bytes > hard):
        n_bytes = hard
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, hard))
