"""The files of leases: who holds a table, as its store shows it."""

import time
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold
from pipeline.table.store.process_id import Process
from pipeline.table_layout import META_DIR

LEASES_DIR = f"{META_DIR}/leases"
LEASE_S = 60.0
"""How long a lease lasts after its holder's last sign of life."""
SKEW_S = 300.0
"""How far two machines' clocks may differ before `status` takes a live lease for a dead one."""


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
    return None if holder.expires_s else "no run: this run itself has released it"


def live_holder(store: TableStore) -> Holder | None:
    """Return the holder of a table by its leases; None where no run holds it.

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
    """Return the number and contents of the lease in force; 0 where there is none.

    The contents are empty if a newcomer has deleted the lease since the listing, after creating the
    next one.
    """
    number = max(_numbers(store), default=0)
    return number, _read(store, number) if number else (b"", b"")


def _read(store: TableStore, number: int) -> tuple[bytes, bytes]:
    """Return the content of a lease, and of the last sign of life beside it."""
    lease = store.read(_name(number)) or b""
    return lease, (store.read(_sign_name(number)) or b"") if lease else b""


def _holder(found: tuple[bytes, bytes]) -> Holder | None:
    """Return the holder of a lease, with the time of its last renewal; None without a lease."""
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
    """Return the files of leases and signs of life, with their numbers."""
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
