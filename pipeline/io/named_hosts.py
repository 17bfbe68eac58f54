"""Whose fault it is that a recording cannot be had over HTTP: that of its host, or that of ours.

A list of recordings may name a thousand hosts, of which some are gone. Such a host is asked again
for a short while, its recordings become clip errors, and what else lies on it fails at once. Where
no host at all answers it is the network of this machine that is out of order, and no clip's fault.
The person's own sources and table are no such hosts: if one of them is out of order, the run has to
wait for it, or to end. A fault of one URL is its clip's, wherever it lies.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ClipError
from pipeline.io.http.host_rules import origin_of
from pipeline.io.http.server_faults import OF_ONE_URL, UNREACHABLE, ServerError
from pipeline.io.storage import Storage

PATIENCE_S = 20.0
"""How long a host that a list names is asked again while it answers by errors, at most."""
SILENT_PATIENCE_S = 10.0
"""The same of a host that does not answer at all."""
NAMELESS_PATIENCE_S = 3.0
"""The same of a host whose name has no address."""
DEAD_S = 300.0
"""How long a host that did not answer is left alone."""
_MOST_ERRORS = 3
"""URLs in a row that end in an error of their server before all of it counts as out of order."""

T = TypeVar("T")


class _Memory:
    """What this process knows of hosts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dead: dict[str, tuple[float, ServerError]] = {}
        self._errors: dict[str, int] = {}
        self._answered: dict[str, float] = {}

    def dead(self, origin: str) -> ServerError | None:
        """The fault of a host that failed lately."""
        with self._lock:
            found = self._dead.get(origin)
        return found[1] if found and found[0] > time.monotonic() else None

    def note_answer(self, origin: str, is_sound: bool) -> None:
        """A host has answered, if only by an error."""
        with self._lock:
            self._answered[origin] = time.monotonic()
            if is_sound:
                self._errors.pop(origin, None)
                self._dead.pop(origin, None)

    def note_failure(self, fault: ServerError) -> None:
        """A host has failed for as long as it is asked again."""
        if fault.error_class in OF_ONE_URL:
            return
        with self._lock:
            n_errors = self._errors[fault.origin] = self._errors.get(fault.origin, 0) + 1
            if fault.error_class == UNREACHABLE or n_errors >= _MOST_ERRORS:
                self._dead[fault.origin] = time.monotonic() + DEAD_S, fault

    def has_answer(self, since_s: float, but_of: str = "") -> bool:
        """Whether any host, but for one, has answered since a moment."""
        with self._lock:
            return any(at >= since_s for each, at in self._answered.items() if each != but_of)

    def forget_failures(self) -> None:
        """Nothing is known of failures any more."""
        with self._lock:
            self._dead.clear()
            self._errors.clear()


_MEMORY = _Memory()


def forget_failures() -> None:
    """Ask every host again, as at the start of a listing."""
    _MEMORY.forget_failures()


def has_answer(since_s: float) -> bool:
    """Whether any HTTP server has answered this process.

    Args:
        since_s: The moment from which answers count, by `time.monotonic`.
    """
    return _MEMORY.has_answer(since_s)


def ask_host(
    what: str, uri: str, shown: str, storage: Storage, call: Callable[[], T], is_listing: bool
) -> T:
    """Ask an HTTP server, again while it is out of order.

    Args:
        what: What is done to which URL; for messages.
        uri: The URL that is asked for.
        shown: The URL without its signature; for messages.
        storage: How the URL is reached.
        call: Asks; must be safe to repeat.
        is_listing: The caller finds out itself whether no host at all answers.

    Raises:
        FileNotFoundError, PermissionError: The recording is not there, or not for us.
        ClipError: The recording, or the host that a list named, cannot be reached.
        StoreError: The person's own host is out of order, or the network of this machine.
    """
    origin, is_own = origin_of(uri), storage.rules.is_own(uri)
    began_s = time.monotonic()

    def patience_s(fault: ServerError) -> float:
        if is_own:
            return storage.timeout_s
        least_s = SILENT_PATIENCE_S if fault.error_class == UNREACHABLE else PATIENCE_S
        return min(storage.timeout_s, NAMELESS_PATIENCE_S if fault.has_no_address else least_s)

    def is_of_clip(fault: ServerError) -> bool:
        if fault.error_class in OF_ONE_URL:
            return True
        if is_own:
            return False
        is_known = is_listing or fault.error_class != UNREACHABLE
        return is_known or _MEMORY.has_answer(began_s, but_of=fault.origin)

    def attempt() -> T:
        if not is_own and (known := _MEMORY.dead(origin)):
            raise _clip_error(shown, known)
        try:
            outcome = call()
        except (FileNotFoundError, PermissionError):
            _MEMORY.note_answer(origin, is_sound=True)
            raise
        except ServerError as fault:
            if fault.error_class != UNREACHABLE:
                _MEMORY.note_answer(origin, is_sound=False)
            is_over = fault.is_final or time.monotonic() - began_s >= patience_s(fault)
            if is_over and is_of_clip(fault):
                _MEMORY.note_failure(fault)
                raise _clip_error(shown, fault) from fault
            raise
        _MEMORY.note_answer(origin, is_sound=True)
        return outcome

    return storage.retry(what, attempt)


def _clip_error(shown: str, fault: ServerError) -> ClipError:
    host = origin_of(shown)
    of = f"{fault.origin}: " if fault.origin and fault.origin != host else ""
    way_out = "the same command with --retry tries it again"
    message = f"{shown}: {of}{fault.reason}; {way_out}"
    return ClipError("read", fault.error_class, message)
