"""One writer at a time where no lock dies with its process: a small file with an end to its time.

The holder writes a later end into it again and again. Whoever finds a lease waits for its end: if
it is renewed meanwhile its holder lives, and the newcomer is refused; if not, the newcomer takes
over. A holder that is known to be dead, as its process was on this machine, is not waited for. The
clocks of two machines may differ by what a lease lasts beyond a renewal, 45 s.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import StoreError, UsageError
from pipeline.store import META_DIR, TableStore

LEASE_NAME = f"{META_DIR}/lease.json"
LEASE_S = 60.0
"""How long a lease lasts after its holder's last sign of life."""
_RENEWALS = 4
_LOOKS = 60
_SETTLING = 30


@dataclass(frozen=True)
class Holder:
    """Content of a lease.

    Attributes:
        host: of the run that holds it.
        pid: its process.
        place: what tells this process number from others': the machine's boot and the namespace.
        token: one a run.
        expires_s: when the lease ends, in seconds since 1970.
    """

    host: str
    pid: int
    place: str
    token: str
    expires_s: float

    @classmethod
    def from_bytes(cls, content: bytes) -> "Holder":
        """Read a lease; one that is none of ours ends in a lease's time."""
        try:
            return TypeAdapter(cls).validate_json(content)
        except ValidationError:
            return cls("unknown", 0, "", "", time.time() + LEASE_S)

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to have ended; False where nobody can tell from here."""
        if not self.place or self.place != _place():
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
        has_one_winner = self._store.has_conditional_put
        seen, until = b"", 0.0
        while True:
            content = self._content()
            if self._store.put_if_absent(LEASE_NAME, content):
                if has_one_winner:
                    return
                # Another run may have written at the same moment: whose file stays is the holder.
                time.sleep(self._lease_s / _SETTLING)
                if self._store.read(LEASE_NAME) == content:
                    return
                continue
            found = self._store.read(LEASE_NAME)
            if found is None:
                continue
            holder = Holder.from_bytes(found)
            if seen and found != seen:
                raise UsageError(self._refusal(holder))
            if not seen:
                left_s = min(holder.expires_s - time.time(), self._lease_s)
                seen, until = found, time.monotonic() + left_s
                if holder.is_dead:
                    until = time.monotonic()
                elif left_s > 0:
                    say(
                        f"table {self._store.location}: a run ({holder}) may be writing to it; "
                        f"waiting up to {left_s:.0f} s to see whether it lives"
                    )
            if time.monotonic() >= until:
                # Two newcomers can both find the old lease here, and delete each other's new one.
                self._store.delete(LEASE_NAME)
                has_one_winner, seen = False, b""
            else:
                time.sleep(self._lease_s / _LOOKS)

    def _refusal(self, holder: Holder) -> str:
        left_s = max(0.0, holder.expires_s - time.time())
        return (
            f"table {self._store.location}: another run is writing to it ({holder}; its lease "
            f"ends in {left_s:.0f} s unless it is renewed again); wait for it, or stop it and run "
            f"again; if it is dead, delete {self._store.locate(LEASE_NAME)}"
        )

    def _content(self) -> bytes:
        holder = Holder(
            host=socket.gethostname(),
            pid=os.getpid(),
            place=_place(),
            token=self._token,
            expires_s=time.time() + self._lease_s,
        )
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
        content = self._content()
        found = self._store.read(LEASE_NAME)
        if found is None:
            # Somebody took this run for dead, and may have started another since.
            if self._store.put_if_absent(LEASE_NAME, content):
                return
            found = self._store.read(LEASE_NAME) or b""
        holder = Holder.from_bytes(found)
        if holder.token != self._token:
            self._lost_to = str(holder)
            return
        with self._store.replacing(LEASE_NAME) as path:
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
                self._store.delete(LEASE_NAME)


def _place() -> str:
    """Where this process's number means something; empty where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
