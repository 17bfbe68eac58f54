"""A limit on the memory that one step of a decoder may add to the process.

A header of a few hundred bytes can make a decoder allocate gigabytes before it reaches the end of
the file. The limit is on the address space of the process (RLIMIT_AS): its current size plus the
allowed memory. It is set for each step (opening the file, or decoding a piece) and removed
afterwards, because the rest of the process, such as a model, must not be limited.
"""

import contextlib
import os
import resource
import threading
from collections.abc import Iterator

from pipeline.errors import CannotDecodeError

_PAGE_BYTES = resource.getpagesize()


class _AddressSpace:
    """The address-space limit of this process, shared by all threads that decode concurrently."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_active = 0
        self._outer = resource.RLIM_INFINITY
        self._ceiling = 0

    def lower(self, n_bytes: int) -> bool:
        """Limit the address space to its current size plus `n_bytes`.

        Returns:
            Whether this limit is in force; False if a lower outer limit stays in force.
        """
        with self._lock:
            if not self._n_active:
                self._outer, self._ceiling = resource.getrlimit(resource.RLIMIT_AS)[0], 0
            self._n_active += 1
            # Each thread may add its own memory to what the others have taken.
            self._ceiling = max(self._ceiling, _address_space_bytes() + n_bytes)
            if self._outer != resource.RLIM_INFINITY and self._outer <= self._ceiling:
                return False
            _set_soft_limit(self._ceiling)
            return True

    def restore(self) -> None:
        """Restore the outer limit once no thread is decoding."""
        with self._lock:
            self._n_active -= 1
            if not self._n_active:
                _set_soft_limit(self._outer)


_ADDRESS_SPACE = _AddressSpace()


@contextlib.contextmanager
def limit_memory(n_bytes: int) -> Iterator[None]:
    """Limit the memory that the code in this context may add to the process.

    Args:
        n_bytes: Memory that may be added, in bytes.

    Raises:
        CannotDecodeError: The code requested more memory (class `too_much_memory`).
        MemoryError: Memory ran out below the limit, which is not the file's fault.
    """
    is_in_force = _ADDRESS_SPACE.lower(n_bytes)
    try:
        yield
    except MemoryError as error:
        if not is_in_force:
            raise
        raise CannotDecodeError(
            "too_much_memory",
            f"decoding it takes more than {n_bytes / (1 << 30):g} GiB of memory at once, by damage "
            "or by intent; leave the file out, or raise --decoder-memory",
        ) from error
    finally:
        _ADDRESS_SPACE.restore()


class _StatmFile:
    """The file `/proc/self/statm`, which holds the size of this process.

    It is kept open because every step of a decoder reads it.
    """

    def __init__(self) -> None:
        self._process_id = 0
        self._descriptor = -1

    def n_pages(self) -> int:
        """Return the size of the address space of this process in pages."""
        if self._process_id != os.getpid():
            # After a fork, the inherited descriptor still reports the size of the parent. It is not
            # closed, because it belongs to the parent.
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
