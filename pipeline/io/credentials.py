"""Diagnosis and renewal of credentials that are missing, expired or rejected.

The credentials of a machine's role come from a metadata service, which may be slow while the
machine starts. Without credentials botocore creates a client that can never sign, and keeps it, so
`renew` discards such clients. If a store rejects credentials, they are loaded once more, because a
file or a role may have newer ones. If they are rejected again, the run ends: no other request
could succeed.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from urllib.parse import urlsplit


class CredentialsProblem(Enum):
    """A problem with the credentials, as an error of a store reports it."""

    NONE = "none"
    MISSING = "missing"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    CLOCK = "clock"


REMEDIES = {
    CredentialsProblem.EXPIRED: "the credentials have expired; renew the credentials, and run the "
    "same command again: what is committed stays",
    CredentialsProblem.UNKNOWN: "the store does not know these credentials (any more); renew "
    "the credentials, or set others, and run the same command again",
    CredentialsProblem.CLOCK: "the clock of this machine is off, so that its requests count as "
    "expired; set the clock, and run the same command again",
}
"""Messages with the way out, for each problem where a store rejects the credentials."""

# To a HEAD request, servers answer these errors with 403, like a file without permission.
_CODES = {
    "ExpiredToken": CredentialsProblem.EXPIRED,
    "ExpiredTokenException": CredentialsProblem.EXPIRED,
    "RequestExpired": CredentialsProblem.EXPIRED,
    "TokenRefreshRequired": CredentialsProblem.EXPIRED,
    "InvalidAccessKeyId": CredentialsProblem.UNKNOWN,
    "InvalidClientTokenId": CredentialsProblem.UNKNOWN,
    "InvalidToken": CredentialsProblem.UNKNOWN,
    "SignatureDoesNotMatch": CredentialsProblem.UNKNOWN,
    "UnrecognizedClientException": CredentialsProblem.UNKNOWN,
    "RequestTimeTooSkewed": CredentialsProblem.CLOCK,
}
_NAMES = {
    "NoCredentialsError": CredentialsProblem.MISSING,
    "PartialCredentialsError": CredentialsProblem.MISSING,
    "ProfileNotFound": CredentialsProblem.MISSING,
    "AuthenticationRequired": CredentialsProblem.MISSING,
    "CredentialRetrievalError": CredentialsProblem.MISSING,
    "MetadataRetrievalError": CredentialsProblem.MISSING,
    "RefreshError": CredentialsProblem.EXPIRED,  # raised by google-auth
    "SSOTokenLoadError": CredentialsProblem.EXPIRED,
    "TokenRetrievalError": CredentialsProblem.EXPIRED,
    "UnauthorizedSSOTokenError": CredentialsProblem.EXPIRED,
}
_SERVICE_ERRORS = ("CredentialRetrievalError", "MetadataRetrievalError")
_PERMANENT_ERRORS = ("ProfileNotFound", "PartialCredentialsError")

_METADATA = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_CONNECT_TIMEOUT_S, _ANSWER_TIMEOUT_S = 1.0, 5.0
_ATTEMPTS = 3
_MIN_RENEWAL_INTERVAL_S = 1.0

_renewal_hooks: list[Callable[[], None]] = []
_renewal_lock = threading.Lock()
_renewed_s = float("-inf")


def diagnose_credentials(error: BaseException | None) -> CredentialsProblem:
    """Return the problem with the credentials that a store's error reports, if any.

    Args:
        error: Error of a store. The chain of its causes is examined as well.
    """
    for each in _chain(error):
        if found := _NAMES.get(type(each).__name__):
            return found
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            if found := _CODES.get(code):
                return found
    return CredentialsProblem.NONE


def may_become_available(error: BaseException) -> bool:
    """Return whether missing credentials may become available, from a service of this machine.

    Args:
        error: Error that reports the missing credentials.
    """
    names = {type(each).__name__ for each in _chain(error)}
    if names.intersection(_PERMANENT_ERRORS):
        return False
    has_service_setting = any(
        os.environ.get(name)
        for name in (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        )
    )
    if has_service_setting or names.intersection(_SERVICE_ERRORS):
        return True
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    if not _has_role_service():
        return False
    # The metadata service exists but is slow; by default botocore waits one second, once.
    os.environ.setdefault("AWS_METADATA_SERVICE_TIMEOUT", f"{_ANSWER_TIMEOUT_S:g}")
    os.environ.setdefault("AWS_METADATA_SERVICE_NUM_ATTEMPTS", str(_ATTEMPTS))
    return True


def add_renewal_hook(forget: Callable[[], None]) -> None:
    """Register a function that `renew` calls to discard clients with old credentials.

    Args:
        forget: Function that discards the clients.
    """
    _renewal_hooks.append(forget)


def renew() -> None:
    """Discard all clients of this process with old credentials, at most once per second."""
    global _renewed_s
    with _renewal_lock:
        if time.monotonic() - _renewed_s < _MIN_RENEWAL_INTERVAL_S:
            return
        for forget in _renewal_hooks:
            with contextlib.suppress(Exception):  # the next request reports the problem
                forget()
        _renewed_s = time.monotonic()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _has_role_service() -> bool:
    """Return whether this machine has a metadata service that may supply credentials."""
    import http.client  # most runs do not need it

    url = urlsplit(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA)
    host, port = url.hostname or "", url.port or 80
    try:
        socket.create_connection((host, port), _CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    try:
        return _request_roles_status(host, port) != http.client.NOT_FOUND
    except (OSError, http.client.HTTPException):
        return True  # the service exists, but does not answer yet


def _request_roles_status(host: str, port: int) -> int:
    import http.client

    with contextlib.closing(
        http.client.HTTPConnection(host, port, timeout=_ANSWER_TIMEOUT_S)
    ) as connection:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        connection.request("PUT", "/latest/api/token", headers=lifetime)
        reply = connection.getresponse()
        token = reply.read(1 << 12).decode("latin-1") if reply.status == http.client.OK else ""
    with contextlib.closing(
        http.client.HTTPConnection(host, port, timeout=_ANSWER_TIMEOUT_S)
    ) as connection:
        headers = {"X-aws-ec2-metadata-token": token} if token else {}
        connection.request("GET", _ROLES, headers=headers)
        return connection.getresponse().status
