"""A lease on a table in a store without locks: a small file that its holder renews.

Leases are numbered files; the highest number is in force. Its holder writes a sign of life beside
it every quarter of the lease's duration, and marks the lease as released at the end. A new run
watches both files for the whole duration, by its own clock. If one changes, the holder lives and
the new run is refused. If not, the new run creates the next number, which a conditional put lets
only one run do, and deletes the lease before. No two clocks are compared. A run never writes to or
deletes a lease in force of another run, so a slow new run cannot take a lease that it has not seen.
A lease that was released, or whose holder is known to be dead (same machine, process gone), is not
watched.

A holder may stand still for longer than a lease and then go on. So every commit calls `taken_by`,
which reads the lease itself. A sign of life that arrives late does not bring the lease back.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict

from pipeline.errors import LostTableError, StoreError, UsageError
from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold, elapsed_s
from pipeline.table.store.lease_file import (
    LEASE_S,
    LEASES_DIR,
    Holder,
    _files,
    _holder,
    _latest,
    _name,
    _numbers,
    _read,
    _sign_name,
    lost_message,
    taken_by,
)
from pipeline.table.store.process_id import Process

_RENEWALS = 4
_LOOKS = 60
_SETTLING = 30
_LONGEST_NAP_S = 1.0


class Lease:
    """One run's claim on a table.

    Args:
        store: Store of the table.
        lease_s: Seconds that the lease lasts after the last sign of life.
    """

    def __init__(self, store: TableStore, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self._hold = Hold(0, uuid.uuid4().hex)
        self._lost_to = ""

    @contextlib.contextmanager
    def held(self, say: Callable[[str], None], on_lost: Callable[[], None]) -> Iterator[Hold]:
        """Hold the lease within the block.

        Args:
            say: Called with how long another run's lease is watched.
            on_lost: Called from another thread where another run has taken the table.

        Raises:
            UsageError: Another run holds it.
            LostTableError: At the end, where another run has taken it.
        """
        self._acquire(say)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(done, on_lost), daemon=True)
        renewing.start()
        try:
            yield self._hold
        finally:
            done.set()
            renewing.join(self._lease_s)
            self._release(renewing.is_alive())

    def _acquire(self, say: Callable[[str], None]) -> None:
        seen, until_s = (b"", b""), 0.0
        while True:
            number, found = _latest(self._store)
            holder = _holder(found)
            if number == 0 or (holder and holder.has_ended):
                if self._take(number + 1):
                    return
            elif holder and not seen[0]:
                seen, until_s = found, elapsed_s() + self._lease_s
                say(
                    f"table {self._store.location}: a run ({holder}) has not given it back; "
                    f"watching for up to {self._lease_s:.0f} s whether it renews its lease"
                )
            elif holder and found != seen:
                raise UsageError(self._refusal(holder))
            elif holder and elapsed_s() >= until_s and self._take(number + 1):
                return
            time.sleep(self._lease_s / _LOOKS)

    def _take(self, number: int) -> bool:
        content = self._content()
        if not self._store.put_if_absent(_name(number), content):
            return False
        if not self._store.has_conditional_put:
            # Another run may have written at the same moment: whose file stays is the holder.
            time.sleep(self._lease_s / _SETTLING)
            if self._store.read(_name(number)) != content:
                return False
        numbers = _numbers(self._store)
        if max(numbers, default=0) > number:
            # It was taken, given back and followed by others since this run looked.
            self._store.delete(_name(number))
            return False
        for name, earlier in _files(self._store).items():
            if earlier < number:
                self._store.delete(f"{LEASES_DIR}/{name}")
        self._hold = Hold(number, self._hold.token)
        return True

    def _refusal(self, holder: Holder) -> str:
        return (
            f"table {self._store.location}: another run is writing to it ({holder}, which has just "
            "renewed its lease); wait for it, or stop it and run again"
        )

    def _content(self, ends_s: float | None = None) -> bytes:
        ends_s = time.time() + self._lease_s if ends_s is None else ends_s
        holder = Holder(
            **asdict(Process.this()),
            token=self._hold.token,
            expires_s=ends_s,
            lease_s=self._lease_s,
        )
        return json.dumps(asdict(holder)).encode()

    def _keep(self, done: threading.Event, on_lost: Callable[[], None]) -> None:
        every_s = self._lease_s / _RENEWALS
        next_s = elapsed_s() + every_s
        # In short naps: the clock that a wait goes by stands still while the machine sleeps.
        while not done.wait(min(every_s / 4, _LONGEST_NAP_S)):
            if elapsed_s() < next_s:
                continue
            next_s = elapsed_s() + every_s
            # A store that is unavailable keeps others from taking over, too.
            with contextlib.suppress(StoreError):
                self._renew()
            if self._lost_to:
                on_lost()
                return

    def _renew(self) -> None:
        number = max(_numbers(self._store), default=0)
        if number > self._hold.number:
            self._lost_to = str(_holder(_read(self._store, number)) or "unknown")
            return
        # By its name, as a listing may lag.
        self._lost_to = taken_by(self._store, self._hold) or ""
        if self._lost_to:
            return
        if not number:
            # No run has it: a person took this run for dead and deleted its lease.
            self._store.put_if_absent(_name(self._hold.number), self._content())
        self._write(_sign_name(self._hold.number), self._content())

    def _write(self, name: str, content: bytes) -> None:
        with self._store.replacing(name) as path:
            path.write_bytes(content)

    def _release(self, is_renewing: bool) -> None:
        with contextlib.suppress(StoreError):
            self._lost_to = self._lost_to or taken_by(self._store, self._hold) or ""
            # Where the store is unavailable, the lease ends by itself, as it is not renewed.
            if not self._lost_to and not is_renewing:
                self._write(_name(self._hold.number), self._content(ends_s=0.0))
        if self._lost_to:
            raise LostTableError(lost_message(self._store, self._lost_to))
