"""Filesystems of remote locations: which one, with which options, and how long to try.

Everything remote goes through `Storage`, so that options and the time budget are the same for
sources and tables, and no credential is ever shown. Filesystems are made in the process that uses
them, as most do not survive a fork.
"""

import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import fsspec

from pipeline.errors import ClipError, CredentialsError, HostError, StoreError, UsageError
from pipeline.io.credentials import (
    WAYS_OUT,
    CredentialsProblem,
    diagnose_credentials,
    may_come,
    on_renewal,
    renew,
)
from pipeline.io.http.host_rules import DEFAULT_RULES, HostRules
from pipeline.io.redaction import redact
from pipeline.io.storage_options import options_of, parse_options, scoped_options_of

DEFAULT_TIMEOUT_S = 120.0
"""How long a store may be out of order before what was asked of it fails."""
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://|(file):/", re.IGNORECASE)
S3_PROTOCOLS = ("s3", "s3a")
HTTP_PROTOCOLS = ("http", "https")  # the filesystem of which lists nothing
# Their filesystems answer from earlier listings, which would hide what changed since.
_CACHING_PROTOCOLS = (*S3_PROTOCOLS, "gs", "gcs", "az", "abfs", "abfss")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_SHORTEST_SILENCE_S, _LONGEST_SILENCE_S = 1.0, 30.0
# Asking again changes none of these.
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

__all__ = [
    "DEFAULT_STORAGE",
    "DEFAULT_TIMEOUT_S",
    "HTTP_PROTOCOLS",
    "S3_PROTOCOLS",
    "Storage",
    "first_line",
    "is_credential_error",
    "is_remote",
    "is_uri",
    "parse_options",
    "protocol_of",
]


def is_uri(location: str) -> bool:
    """Whether a location is a URI; else it is a local path."""
    return _URI.match(location) is not None


def protocol_of(uri: str) -> str:
    """`s3` of `s3://bucket/key`; empty for a local path."""
    match = _URI.match(uri)
    return (match[1] or match[2]).lower() if match else ""


def is_remote(location: str) -> bool:
    """Whether a location is reached through a `Storage`: a URI, but not that of a local file."""
    return protocol_of(location) not in ("", "file", "local")


@dataclass(frozen=True)
class Storage:
    """How remote locations are reached.

    Attributes:
        options: for the filesystem, as fsspec takes them, some for one host or bucket alone; never
            shown.
        timeout_s: how long a failing request is repeated.
        rules: which hosts may be asked, and which are the person's own.
        awaits_credentials: Credentials were there when the run began, so that a machine that has
            none yet is waited for.
    """

    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    rules: HostRules = DEFAULT_RULES
    awaits_credentials: bool = False

    def owning(self, locations: Iterable[str]) -> "Storage":
        """Return this storage with the hosts of more locations as the person's own.

        Args:
            locations: Sources and tables, as the person names them.
        """
        return replace(self, rules=self.rules.owning(locations))

    def options_of(self, uri: str) -> dict[str, Any]:
        """Return the options for a URI, those of its host or bucket among them."""
        return options_of(self.options, uri)

    @property
    def silence_s(self) -> float:
        """How long one request may say nothing: there is to be time left to ask again."""
        least_s = min(self.timeout_s, _SHORTEST_SILENCE_S)
        return min(max(self.timeout_s / 4, least_s), _LONGEST_SILENCE_S)

    def filesystem(self, uri: str) -> Any:
        """The fsspec filesystem of a URI, made once a process.

        Raises:
            UsageError: no such protocol, its package is not installed, or it takes no such option.
        """
        protocol = protocol_of(uri)
        # One for all hosts: which of them is sent what, it decides by each URL.
        is_http = protocol in HTTP_PROTOCOLS
        options = dict(self.options) if is_http else self.options_of(uri)
        given = repr(sorted(options.items()))
        key = (os.getpid(), protocol, given, self.timeout_s, self.rules if is_http else None)
        if key not in _FILESYSTEMS:
            settings = _defaults(protocol, self)
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
                # s3fs repeats what botocore has repeated already; the budget here is for both.
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
            # What is given for no host in particular is for those that the person named.
            if self.rules.is_own(url):
                return credentials_in(options_of(self.options, url))
            return credentials_in(scoped_options_of(self.options, url))

        general = settings_without_credentials(options_of(self.options, ""))
        return {
            **general,
            "get_client": client_maker(self.rules, credentials_of),
            "skip_instance_cache": True,
        }

    def retry(self, what: str, call: Callable[[], T]) -> T:
        """Do something remote, again and again while the store is out of order.

        Args:
            what: is being done, with its URI; for the message.
            call: does it; must be safe to repeat.

        Raises:
            FileNotFoundError, PermissionError, FileExistsError: as the store says.
            ClipError: as `call` says.
            CredentialsError: The store rejects the credentials, and there are no newer ones.
            HostError: This machine has no credentials, and none came.
            StoreError: it did not work within `timeout_s`, or never will.
        """
        deadline = time.monotonic() + self.timeout_s
        pause_s = _FIRST_PAUSE_S
        has_renewed = may_wait = False
        while True:
            try:
                return call()
            except (FileNotFoundError, FileExistsError, ClipError):
                raise
            except Exception as error:
                trouble = diagnose_credentials(error)
                if isinstance(error, PermissionError) and trouble is CredentialsProblem.NONE:
                    raise
                reason = f"{self.redact(what)}: {self.redact(first_line(error))}"
                left_s = deadline - time.monotonic()
                if trouble is CredentialsProblem.MISSING:
                    may_wait = may_wait or self.awaits_credentials or may_come(error)
                    if not may_wait or left_s <= 0:
                        raise HostError(f"{reason}; {_NO_CREDENTIALS}") from error
                    renew()
                elif trouble in WAYS_OUT:
                    if has_renewed:
                        raise CredentialsError(f"{reason}; {WAYS_OUT[trouble]}") from error
                    has_renewed = True
                    renew()
                    continue
                elif _is_final(error):
                    raise StoreError(reason) from error
                if left_s <= 0:
                    raise StoreError(
                        f"{reason}; tried for {self.timeout_s:g} s (--store-timeout-s)"
                    ) from error
            # The last try is at the deadline, however long the pauses have become.
            time.sleep(min(pause_s * random.uniform(0.5, 1), left_s))  # noqa: S311 (no secret)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def redact(self, text: str) -> str:
        """A text without the credentials that this process knows, and without those in URIs."""
        return redact(text, dict(self.options))


_NO_CREDENTIALS = (
    "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --storage-options "
    "anon=true for a public bucket"
)
DEFAULT_STORAGE = Storage()
_FILESYSTEMS: dict[tuple[Any, ...], Any] = {}


def take_keys_literally(s3fs: Any) -> None:
    """Let a filesystem of s3fs find keys that have `?versionId=` in them.

    s3fs cuts that off every path. Where it is `version_aware`, its users mean versions by it.
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
    """Whether there are no credentials, or the store knows none like them."""
    return diagnose_credentials(error) is not CredentialsProblem.NONE


def _forget_credentials() -> None:
    """Make the clients of S3 again, which keep the credentials that they were made with."""
    for (process, protocol, *_), files in list(_FILESYSTEMS.items()):
        if process == os.getpid() and protocol in S3_PROTOCOLS:
            files.connect(refresh=True)


on_renewal(_forget_credentials)


def _defaults(protocol: str, storage: Storage) -> dict[str, Any]:
    connecting_s, silence_s = min(10.0, storage.silence_s), storage.silence_s
    if protocol in HTTP_PROTOCOLS:
        import aiohttp  # takes its time, and most runs need none of it

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connecting_s, sock_read=silence_s)
        return {"client_kwargs": {"timeout": timeout}}
    if protocol not in S3_PROTOCOLS:
        return {"use_listings_cache": False} if protocol in _CACHING_PROTOCOLS else {}
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return {
        # botocore reads AWS_DEFAULT_REGION alone, where other tools of AWS read AWS_REGION.
        "client_kwargs": {"region_name": region} if region else {},
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"mode": "standard", "total_max_attempts": 2},
            "connect_timeout": connecting_s,
            "read_timeout": silence_s,
        },
    }


def _is_final(error: Exception) -> bool:
    return (
        isinstance(error, _FINAL_ERRORS)
        or getattr(error, "is_final", False)  # of a ServerError
        or (isinstance(error, OSError) and error.errno in _FINAL_ERRNOS)
    )


def first_line(error: BaseException) -> str:
    """What an error says, in one line; where it says nothing, what its cause says."""
    while str(error) in ("", "None") and error.__cause__:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
