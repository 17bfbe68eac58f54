"""One writer at a time where no lock dies with its process: small files with an end to their time.

Leases are numbered, and the one with the greatest number counts. Its holder writes a later end into
it again and again, and at last that it has ended. Whoever finds a lease waits for its end: if it is
renewed meanwhile its holder lives, and the newcomer is refused; if not, the newcomer creates the
next number, which of many newcomers only one can do. Nobody writes into another's lease or deletes
one that counts, so a newcomer however slow takes nothing from a holder it has not seen. A holder
that is known to be dead, as its process was on this machine, is not waited for. The clocks of two
machines may differ by what a lease lasts beyond a renewal, 45 s.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import StoreError, UsageError
from pipeline.processes import Process
from pipeline.store import META_DIR, TableStore

LEASES_DIR = f"{META_DIR}/leases"
LEASE_S = 60.0
"""How long a lease lasts after its holder's last sign of life."""
_RENEWALS = 4
_LOOKS = 60
_SETTLING = 30


@dataclass(frozen=True)
class Holder(Process):
    """Content of a lease: the process that holds it, and for how long.

    Attributes:
        token: one a run.
        expires_s: when the lease ends, in seconds since 1970; 0 once it is given back.
    """

    token: str
    expires_s: float

    @classmethod
    def from_bytes(cls, content: bytes) -> "Holder":
        """Read a lease; one that is none of ours ends in a lease's time."""
        try:
            return TypeAdapter(cls).validate_json(content)
        except ValidationError:
            return cls("unknown", 0, "", "", time.time() + LEASE_S)


class Lease:
    """One run's claim on a table.

    Args:
        store: of the table.
        lease_s: how long it lasts after the last sign of life.
    """

    def __init__(self, store: TableStore, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self._token = uuid.uuid4().hex
        self._lost_to = ""

    @contextlib.contextmanager
    def held(self, say: Callable[[str], None], on_lost: Callable[[], None]) -> Iterator[None]:
        """Hold it within the block.

        Args:
            say: told how long another run's lease is waited for.
            on_lost: called from another thread where another run has taken it.

        Raises:
            UsageError: another run holds it.
            StoreError: at the end, where it was lost.
        """
        self._acquire(say)
        done = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(done, on_lost), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            done.set()
            renewing.join(self._lease_s)
            self._release(renewing.is_alive())

    def _acquire(self, say: Callable[[str], None]) -> None:
        seen, until = b"", 0.0
        while True:
            number, found = self._latest()
            if number and not found:
                continue  # deleted since it was listed, by who took the next
            holder = Holder.from_bytes(found) if found else None
            if holder and seen and found != seen and holder.expires_s:
                raise UsageError(self._refusal(number, holder))
            if holder and not seen:
                left_s = min(holder.expires_s - time.time(), self._lease_s)
                seen, until = found, time.monotonic() + left_s
                if holder.is_dead:
                    until = time.monotonic()
                elif left_s > 0:
                    say(
                        f"table {self._store.location}: a run ({holder}) may be writing to it; "
                        f"waiting up to {left_s:.0f} s to see whether it lives"
                    )
            if holder and holder.expires_s and time.monotonic() < until:
                time.sleep(self._lease_s / _LOOKS)
            elif self._take(number + 1):
                return

    def _latest(self) -> tuple[int, bytes]:
        """Number and content of the lease that counts; 0 and nothing where there is none."""
        number = max(_numbers(self._store), default=0)
        return number, (self._store.read(_name(number)) or b"") if number else b""

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
        if max(numbers) > number:
            # It was taken, given back and followed by others since this run looked.
            self._store.delete(_name(number))
            return False
        for earlier in numbers:
            if earlier < number:
                self._store.delete(_name(earlier))
        self._number = number
        return True

    def _refusal(self, number: int, holder: Holder) -> str:
        left_s = max(0.0, holder.expires_s - time.time())
        return (
            f"table {self._store.location}: another run is writing to it ({holder}; its lease "
            f"ends in {left_s:.0f} s unless it is renewed again); wait for it, or stop it and run "
            f"again; if it is dead, delete {self._store.locate(_name(number))}"
        )

    def _content(self, ends_s: float | None = None) -> bytes:
        ends_s = time.time() + self._lease_s if ends_s is None else ends_s
        holder = Holder(**asdict(Process.this()), token=self._token, expires_s=ends_s)
        return json.dumps(asdict(holder)).encode()

    def _keep(self, done: threading.Event, on_lost: Callable[[], None]) -> None:
        while not done.wait(self._lease_s / _RENEWALS):
            # A store that is out of order keeps others from taking over, too.
            with contextlib.suppress(StoreError):
                self._renew()
            if self._lost_to:
                on_lost()
                return

    def _renew(self) -> None:
        number, found = self._latest()
        if not number:
            # Somebody took this run for dead, deleted its lease, and may start another.
            self._store.put_if_absent(_name(self._number), self._content())
            return
        if not found:
            return  # deleted since it was listed
        holder = Holder.from_bytes(found)
        if holder.token != self._token:
            self._lost_to = str(holder)
            return
        self._write(self._content())

    def _write(self, content: bytes) -> None:
        with self._store.replacing(_name(self._number)) as path:
            path.write_bytes(content)

    def _release(self, is_renewing: bool) -> None:
        if self._lost_to:
            raise StoreError(
                f"table {self._store.location}: this run was silent for longer than "
                f"{self._lease_s:g} s, and another ({self._lost_to}) writes to it now; run "
                "`passtream verify` when that one has ended"
            )
        # A renewal under way would bring it back; and where the store is out of order, it ends.
        if not is_renewing:
            with contextlib.suppress(StoreError):
                self._write(self._content(ends_s=0.0))


def live_holder(store: TableStore) -> Holder | None:
    """Who holds a table, as its leases say; None where nobody does. Takes and changes nothing.

    Raises:
        StoreError: the store is out of order.
    """
    while number := max(_numbers(store), default=0):
        if found := store.read(_name(number)):
            holder = Holder.from_bytes(found)
            return holder if holder.expires_s > time.time() and not holder.is_dead else None
    return None


def _numbers(store: TableStore) -> list[int]:
    stems = (name.removesuffix(".json") for name in store.names(LEASES_DIR))
    return [int(stem) for stem in stems if stem.isdecimal()]


def _name(number: int) -> str:
    return f"{LEASES_DIR}/{number:08d}.json"
