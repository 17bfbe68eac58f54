"""One writer at a time where no lock dies with its process: a lease that its holder renews.

Leases are numbered files, and the one with the greatest number counts. Beside it its holder writes
a sign of life every quarter of a lease's time, and at last into it that it has ended. A newcomer
watches both files for that whole time by its own clock: if one changes, the holder lives and the
newcomer is refused; if none does, the newcomer creates the next number, which of many newcomers
only one can do, and deletes the lease before. No two clocks are compared. Nobody writes into
another's lease or deletes one that counts, so a newcomer however slow takes nothing from a holder
it has not seen. A lease that was given back, or whose holder is known to be dead (its process was
on this machine), is not watched.

A holder may stand still for longer than a lease and then go on. So every commit asks `taken_by`,
which looks for the lease itself. A sign of life that was on its way meanwhile does not bring the
lease back.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import LostTableError, StoreError, UsageError
from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold, elapsed_s
from pipeline.table.store.process_id import Process
from pipeline.table_layout import META_DIR

LEASES_DIR = f"{META_DIR}/leases"
LEASE_S = 60.0
"""How long a lease lasts after its holder's last sign of life."""
SKEW_S = 300.0
"""How far two machines' clocks may differ before `status` takes a live lease for a dead one."""
_RENEWALS = 4
_LOOKS = 60
_SETTLING = 30
_LONGEST_NAP_S = 1.0


@dataclass(frozen=True)
class Holder(Process):
    """Content of a lease: the process that holds it, and when it renewed it.

    Attributes:
        token: Random text of one run.
        expires_s: When the lease ends by its holder's clock, in seconds since 1970; 0 once it is
            given back. Older versions compare it with their clock; this one shows it.
        lease_s: Seconds that the lease lasts after a renewal.
    """

    token: str
    expires_s: float
    lease_s: float = LEASE_S

    @classmethod
    def from_bytes(cls, content: bytes) -> "Holder":
        """Read a lease; content that is not a lease counts as one of an unknown holder."""
        try:
            return TypeAdapter(cls).validate_json(content)
        except ValidationError:
            return cls("unknown", 0, "", "", time.time() + LEASE_S)

    @property
    def has_ended(self) -> bool:
        """Whether the lease was given back, or its holder is known to be dead."""
        return not self.expires_s or self.is_dead

    def renewed_ago_s(self, now_s: float) -> float:
        """Return seconds since the last renewal, by the holder's clock and this one's.

        Args:
            now_s: Time of this machine, in seconds since 1970.
        """
        return now_s - (self.expires_s - self.lease_s)

    def is_overdue(self, now_s: float) -> bool:
        """Return whether the clocks say that the renewal is late, or comes from the future.

        Args:
            now_s: Time of this machine, in seconds since 1970.
        """
        return abs(self.renewed_ago_s(now_s)) > self.lease_s


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
            # Nobody has it: a person took this run for dead, and deleted its lease.
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


def lost_message(store: TableStore, lost_to: str) -> str:
    """Return what a run says that has lost its table.

    Args:
        store: Store of the table.
        lost_to: Name of the holder that `taken_by` returned.
    """
    return (
        f"table {store.location}: this run has lost it to another one ({lost_to}), as after a "
        "standstill or a long time without the store; it commits nothing any more. When the other "
        "run has ended, `passtream verify` shows whether the table is whole"
    )


def taken_by(store: TableStore, hold: Hold) -> str | None:
    """Return who has a table in place of a hold, for messages; None while the hold counts.

    One request while it counts: the lease itself, by its name, as a newcomer deletes it before it
    does anything else.

    Args:
        store: Store of the table.
        hold: Hold that is checked.

    Raises:
        StoreError: The store is unavailable.
    """
    if content := store.read(_name(hold.number)):
        return _other(content, hold)
    for number in sorted({*_numbers(store), hold.number + 1}, reverse=True):
        if content := store.read(_name(number)):
            return _other(content, hold)
    return None  # deleted by a person; the holder's next renewal brings it back


def _other(content: bytes, hold: Hold) -> str | None:
    holder = Holder.from_bytes(content)
    if holder.token != hold.token:
        return str(holder)
    return None if holder.expires_s else "nobody: the run itself has given it back"


def live_holder(store: TableStore) -> Holder | None:
    """Return who holds a table, as far as one look at its leases shows; None where nobody does.

    A lease whose holder's clock differs from this one's by up to `SKEW_S` is still reported;
    `Holder.is_overdue` says whether the clocks agree that the holder lives.

    Raises:
        StoreError: The store is unavailable.
    """
    for number in sorted(_numbers(store), reverse=True):
        if holder := _holder(_read(store, number)):
            silent_s = holder.renewed_ago_s(time.time()) - holder.lease_s
            return None if holder.has_ended or silent_s > SKEW_S else holder
    return None


def _latest(store: TableStore) -> tuple[int, tuple[bytes, bytes]]:
    """Number and contents of the lease that counts; 0 where there is none.

    No content where the lease was deleted since it was listed, by a newcomer that has created the
    next.
    """
    number = max(_numbers(store), default=0)
    return number, _read(store, number) if number else (b"", b"")


def _read(store: TableStore, number: int) -> tuple[bytes, bytes]:
    """A lease, and the last sign of life beside it."""
    lease = store.read(_name(number)) or b""
    return lease, (store.read(_sign_name(number)) or b"") if lease else b""


def _holder(found: tuple[bytes, bytes]) -> Holder | None:
    """Who holds a lease, with the time of the last sign of life; None where there is no lease."""
    lease, sign = found
    if not lease:
        return None
    holder = Holder.from_bytes(lease)
    if sign and holder.expires_s:
        renewed = Holder.from_bytes(sign)
        return renewed if renewed.token == holder.token else holder
    return holder


def _numbers(store: TableStore) -> list[int]:
    return [number for name, number in _files(store).items() if name == _base(number)]


def _files(store: TableStore) -> dict[str, int]:
    """Leases and signs of life, with their numbers."""
    stems = {name: name.partition(".")[0] for name in store.names(LEASES_DIR)}
    numbers = {name: int(stem) for name, stem in stems.items() if stem.isdecimal()}
    return {n: number for n, number in numbers.items() if n in (_base(number), _sign(number))}


def _base(number: int) -> str:
    return f"{number:08d}.json"


def _sign(number: int) -> str:
    return f"{number:08d}.sign"


def _name(number: int) -> str:
    return f"{LEASES_DIR}/{_base(number)}"


def _sign_name(number: int) -> str:
    return f"{LEASES_DIR}/{_sign(number)}"
