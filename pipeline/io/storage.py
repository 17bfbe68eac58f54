"""Access to remote locations: their filesystems, with options, retries and redaction.

Everything remote goes through `Storage`, so sources and tables share the same options and time
limit, and no credential is ever printed. Each process creates its own filesystems, because most
of them do not survive a fork.
"""

import errno
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import fsspec

from pipeline.errors import ClipError, CredentialsError, HostError, StoreError, UsageError
from pipeline.io.credentials import (
    REMEDIES,
    CredentialsProblem,
    add_renewal_hook,
    diagnose_credentials,
    may_become_available,
    renew,
)
from pipeline.io.http.host_rules import DEFAULT_RULES, HostRules
from pipeline.io.protocols import HTTP_PROTOCOLS, S3_PROTOCOLS, filesystem_defaults, protocol_of
from pipeline.io.redaction import redact
from pipeline.io.storage_options import options_of, scoped_options_of

DEFAULT_TIMEOUT_S = 120.0
"""Seconds for which a request to an unavailable store is retried, by default."""
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.2, 10.0
_MIN_READ_TIMEOUT_S, _MAX_READ_TIMEOUT_S = 1.0, 30.0
# Errors that a retry cannot change.
_FINAL_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ValueError,
    TypeError,
    ImportError,
)
_FINAL_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.ENOTSUP}
T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """Settings for the access to remote locations.

    Attributes:
        options: Options of the filesystems as (name, value), as `parse_options` returns them. Some
            are for one host or bucket only. They are never printed.
        timeout_s: Seconds for which a failing request is retried.
        rules: Rules that say which hosts may be contacted, and which are the user's own.
        awaits_credentials: Whether to wait for credentials on a machine that has none yet. A run
            sets it for its workers, because it had credentials itself when it began.
    """

    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    rules: HostRules = DEFAULT_RULES
    awaits_credentials: bool = False

    def with_own_hosts(self, locations: Iterable[str]) -> "Storage":
        """Return a copy that treats the hosts of more locations as the user's own.

        Args:
            locations: Sources and tables, as the user named them.
        """
        return replace(self, rules=self.rules.with_own_hosts(locations))

    def options_of(self, uri: str) -> dict[str, Any]:
        """Return the options for a URI, including options of its host or bucket."""
        return options_of(self.options, uri)

    @property
    def read_timeout_s(self) -> float:
        """Seconds without data after which a request fails, so that `timeout_s` allows a retry."""
        min_s = min(self.timeout_s, _MIN_READ_TIMEOUT_S)
        return min(max(self.timeout_s / 4, min_s), _MAX_READ_TIMEOUT_S)

    def filesystem(self, uri: str) -> Any:
        """Return the fsspec filesystem of a URI, created once per process.

        Raises:
            UsageError: The protocol is unknown, its package is not installed, or it rejects an
                option.
        """
        protocol = protocol_of(uri)
        # One HTTP filesystem serves all hosts; its session picks the credentials for each URL.
        is_http = protocol in HTTP_PROTOCOLS
        options = dict(self.options) if is_http else self.options_of(uri)
        options_key = repr(sorted(options.items()))
        key = (os.getpid(), protocol, options_key, self.timeout_s, self.rules if is_http else None)
        if key not in _FILESYSTEMS:
            settings = filesystem_defaults(protocol, self.read_timeout_s)
            if is_http:
                options = self._http_settings()
            for name, value in options.items():
                both = isinstance(value, dict) and isinstance(settings.get(name), dict)
                settings[name] = settings[name] | value if both else value
            try:
                _FILESYSTEMS[key] = fsspec.filesystem(protocol, **settings)
            except (ImportError, ValueError, TypeError) as error:
                raise UsageError(f"{self.redact(uri)}: {self.redact(first_line(error))}") from error
            if protocol in S3_PROTOCOLS:
                # botocore and `retry` both retry already, so s3fs must not multiply the attempts.
                _FILESYSTEMS[key].retries = 1
                take_keys_literally(_FILESYSTEMS[key])
        return _FILESYSTEMS[key]

    def _http_settings(self) -> dict[str, Any]:
        from pipeline.io.http.session import (
            Credentials,
            client_maker,
            credentials_in,
            settings_without_credentials,
        )

        def credentials_of(url: str) -> Credentials:
            # Options without a prefix are for the hosts that the user named, and no others.
            if self.rules.is_own(url):
                return credentials_in(options_of(self.options, url))
            return credentials_in(scoped_options_of(self.options, url))

        general = settings_without_credentials(options_of(self.options, ""))
        return {
            **general,
            "get_client": client_maker(self.rules, credentials_of),
            "skip_instance_cache": True,
        }

    def retry(self, operation: str, call: Callable[[], T]) -> T:
        """Call a remote operation, retrying until it succeeds or `timeout_s` has passed.

        Args:
            operation: Description of the operation with its URI, for messages.
            call: Function that runs the operation. It must be safe to repeat.

        Raises:
            FileNotFoundError, PermissionError, FileExistsError: The store answered with this error.
            ClipError: `call` raised it.
            CredentialsError: The store rejects the credentials, and no newer credentials exist.
            HostError: This machine has no credentials, and did not get any in time.
            StoreError: The operation failed for `timeout_s`, or with an error that a retry cannot
                change.
        """
        deadline = time.monotonic() + self.timeout_s
        backoff_s = _FIRST_BACKOFF_S
        has_renewed = may_wait = False
        while True:
            try:
                return call()
            except (FileNotFoundError, FileExistsError, ClipError):
                raise
            except Exception as error:
                problem = diagnose_credentials(error)
                if isinstance(error, PermissionError) and problem is CredentialsProblem.NONE:
                    raise
                reason = f"{self.redact(operation)}: {self.redact(first_line(error))}"
                remaining_s = deadline - time.monotonic()
                if problem is CredentialsProblem.MISSING:
                    may_wait = may_wait or self.awaits_credentials or may_become_available(error)
                    if not may_wait or remaining_s <= 0:
                        raise HostError(f"{reason}; {_CREDENTIALS_HINT}") from error
                    renew()
                elif problem in REMEDIES:
                    if has_renewed:
                        raise CredentialsError(f"{reason}; {REMEDIES[problem]}") from error
                    has_renewed = True
                    renew()
                    continue
                elif _is_final(error):
                    raise StoreError(reason) from error
                if remaining_s <= 0:
                    raise StoreError(
                        f"{reason}; tried for {self.timeout_s:g} s (--store-timeout-s)"
                    ) from error
            # The pause ends at the deadline at the latest, where the last attempt is made.
            jitter = random.uniform(0.5, 1)  # noqa: S311 (no secret)
            time.sleep(min(backoff_s * jitter, remaining_s))
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)

    def redact(self, text: str) -> str:
        """Return a text with all known credentials, and credentials in URIs, replaced by `***`."""
        return redact(text, dict(self.options))


_CREDENTIALS_HINT = (
    "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --storage-options "
    "anon=true for a public bucket"
)
DEFAULT_STORAGE = Storage()
_FILESYSTEMS: dict[tuple[Any, ...], Any] = {}


def take_keys_literally(s3fs: Any) -> None:
    """Make an s3fs filesystem accept object keys that contain `?versionId=`.

    By default s3fs removes it from every path. A `version_aware` filesystem is left as it is,
    because there the suffix selects a version.
    """
    if s3fs.version_aware:
        return

    def split_path(path: str) -> tuple[str, str, None]:
        trail = path[len(path.rstrip("/")) :]
        path = s3fs._strip_protocol(path).lstrip("/")
        if "/" not in path:
            return path, "", None
        bucket, key = s3fs._find_bucket_key(path)
        return bucket, key + trail, None

    s3fs.split_path = split_path


def is_credential_error(error: BaseException) -> bool:
    """Return whether an error says that credentials are missing or rejected."""
    return diagnose_credentials(error) is not CredentialsProblem.NONE


def _forget_credentials() -> None:
    """Reconnect the S3 clients of this process, which keep the credentials they started with."""
    for (process, protocol, *_), files in list(_FILESYSTEMS.items()):
        if process == os.getpid() and protocol in S3_PROTOCOLS:
            files.connect(refresh=True)


add_renewal_hook(_forget_credentials)


def _is_final(error: Exception) -> bool:
    return (
        isinstance(error, _FINAL_ERRORS)
        or getattr(error, "is_final", False)  # set on a ServerError
        or (isinstance(error, OSError) and error.errno in _FINAL_ERRNOS)
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or of its cause's if it has none."""
    while str(error) in ("", "None") and error.__cause__:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
