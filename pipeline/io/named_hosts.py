"""Retries of HTTP requests, and the decision whether a failure is the clip's or the run's.

A list of recordings may name a thousand hosts, and some may no longer exist. Requests to such a
host are retried for a short time. Then its recordings become clip errors, and further requests to
it fail at once. If no host answers at all, the network of this machine is down, which is no clip's
fault. If a host of the user's own sources or table is unavailable, the run waits for it or ends. A
fault of a single URL becomes an error of its clip, on any host.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ClipError
from pipeline.io.http.host_rules import origin_of
from pipeline.io.http.server_faults import SINGLE_URL_CLASSES, UNREACHABLE, ServerError
from pipeline.io.storage import Storage

FAILING_HOST_RETRY_S = 20.0
"""Most seconds of retries to a host named in a list that answers with errors."""
SILENT_HOST_RETRY_S = 10.0
"""Most seconds of retries to a host named in a list that does not answer."""
UNKNOWN_HOST_RETRY_S = 3.0
"""Most seconds of retries to a host named in a list whose name has no address."""
FAILED_HOST_PAUSE_S = 300.0
"""Seconds for which no request is sent to a host that has failed."""
_MAX_ERRORS_IN_A_ROW = 3
"""Number of failed URLs in a row after which their whole host counts as unavailable."""

T = TypeVar("T")


class _HostRecords:
    """The answers and failures of all hosts, as this process has seen them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[float, ServerError]] = {}
        self._errors: dict[str, int] = {}
        self._answered: dict[str, float] = {}

    def recent_fault(self, origin: str) -> ServerError | None:
        """Return the fault of a host that failed recently, or None."""
        with self._lock:
            found = self._failed.get(origin)
        return found[1] if found and found[0] > time.monotonic() else None

    def record_answer(self, origin: str, is_sound: bool) -> None:
        """Record that a host has answered, if only with an error.

        Args:
            origin: Origin of the host.
            is_sound: Whether the answer was no error of the server; it clears earlier failures.
        """
        with self._lock:
            self._answered[origin] = time.monotonic()
            if is_sound:
                self._errors.pop(origin, None)
                self._failed.pop(origin, None)

    def record_failure(self, fault: ServerError) -> None:
        """Record that a host has failed until the end of its retries."""
        if fault.error_class in SINGLE_URL_CLASSES:
            return
        with self._lock:
            n_errors = self._errors[fault.origin] = self._errors.get(fault.origin, 0) + 1
            if fault.error_class == UNREACHABLE or n_errors >= _MAX_ERRORS_IN_A_ROW:
                self._failed[fault.origin] = time.monotonic() + FAILED_HOST_PAUSE_S, fault

    def has_answer(self, since_s: float, except_origin: str = "") -> bool:
        """Return whether any host, apart from one, has answered since a time."""
        with self._lock:
            return any(
                at >= since_s for each, at in self._answered.items() if each != except_origin
            )

    def forget_failures(self) -> None:
        """Forget all failures, so that every host is contacted again."""
        with self._lock:
            self._failed.clear()
            self._errors.clear()


_RECORDS = _HostRecords()


def forget_failures() -> None:
    """Forget failed hosts, so that a new listing contacts each of them again."""
    _RECORDS.forget_failures()


def has_answer(since_s: float) -> bool:
    """Return whether any HTTP server has answered this process since a time.

    Args:
        since_s: Time of `time.monotonic` from which answers count, in seconds.
    """
    return _RECORDS.has_answer(since_s)


def ask_host(
    operation: str, uri: str, shown: str, storage: Storage, call: Callable[[], T], is_listing: bool
) -> T:
    """Send a request to an HTTP server, with retries while the server is unavailable.

    Args:
        operation: Description of the operation and its URL, for messages.
        uri: URL of the recording.
        shown: URL without its signature, for messages.
        storage: Storage that gives access to the URL.
        call: Function that sends the request. It must be safe to repeat.
        is_listing: Whether the caller itself checks that at least one host answers.

    Raises:
        FileNotFoundError, PermissionError: The recording does not exist, or must not be read.
        ClipError: The recording has a fault, or the host that a list named has failed.
        StoreError: The user's own host is unavailable, or the network of this machine is.
    """
    origin, is_own = origin_of(uri), storage.rules.is_own(uri)
    began_s = time.monotonic()

    def retry_limit_s(fault: ServerError) -> float:
        if is_own:
            return storage.timeout_s
        limit_s = SILENT_HOST_RETRY_S if fault.error_class == UNREACHABLE else FAILING_HOST_RETRY_S
        return min(storage.timeout_s, UNKNOWN_HOST_RETRY_S if fault.has_no_address else limit_s)

    def is_of_clip(fault: ServerError) -> bool:
        if fault.error_class in SINGLE_URL_CLASSES:
            return True
        if is_own:
            return False
        is_known = is_listing or fault.error_class != UNREACHABLE
        return is_known or _RECORDS.has_answer(began_s, except_origin=fault.origin)

    def attempt() -> T:
        if not is_own and (known := _RECORDS.recent_fault(origin)):
            raise _clip_error(shown, known)
        try:
            outcome = call()
        except (FileNotFoundError, PermissionError):
            _RECORDS.record_answer(origin, is_sound=True)
            raise
        except ServerError as fault:
            if fault.error_class != UNREACHABLE:
                _RECORDS.record_answer(origin, is_sound=False)
            is_over = fault.is_final or time.monotonic() - began_s >= retry_limit_s(fault)
            if is_over and is_of_clip(fault):
                _RECORDS.record_failure(fault)
                raise _clip_error(shown, fault) from fault
            raise
        _RECORDS.record_answer(origin, is_sound=True)
        return outcome

    return storage.retry(operation, attempt)


def _clip_error(shown: str, fault: ServerError) -> ClipError:
    host = origin_of(shown)
    other_host = f"{fault.origin}: " if fault.origin and fault.origin != host else ""
    way_out = "the same command with --retry tries it again"
    message = f"{shown}: {other_host}{fault.reason}; {way_out}"
    return ClipError("read", fault.error_class, message)
