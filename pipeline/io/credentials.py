"""Credentials of stores that come late, have expired, or are none: what each error means.

A machine's own credentials come from a metadata service that may be slow while the machine starts.
Without them botocore makes a client that can never sign, and keeps it: such clients are made again
here. Credentials that a store rejects are asked for once more, as a file or a role may have newer
ones; then the run has to end, as no other request could succeed.
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
    """What is wrong with the credentials."""

    NONE = "none"
    MISSING = "missing"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    CLOCK = "clock"


WAYS_OUT = {
    CredentialsProblem.EXPIRED: "the credentials have expired; renew the credentials, and run the "
    "same command again: what is committed stays",
    CredentialsProblem.UNKNOWN: "the store does not know these credentials, or not any more; renew "
    "the credentials, or set others, and run the same command again",
    CredentialsProblem.CLOCK: "the clock of this machine is off, so that its requests count as "
    "expired; set the clock, and run the same command again",
}
"""What a person can do where a store rejects the credentials."""

# Asked by HEAD, a server says 403 to these as it does to a file that one may not read.
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
    "RefreshError": CredentialsProblem.EXPIRED,  # of google-auth
    "SSOTokenLoadError": CredentialsProblem.EXPIRED,
    "TokenRetrievalError": CredentialsProblem.EXPIRED,
    "UnauthorizedSSOTokenError": CredentialsProblem.EXPIRED,
}
_OF_SERVICES = ("CredentialRetrievalError", "MetadataRetrievalError")
_NEVER = ("ProfileNotFound", "PartialCredentialsError")

_METADATA = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_CONNECT_S, _ANSWER_S = 1.0, 5.0
_ATTEMPTS = 3
_RENEW_EVERY_S = 1.0

_on_renewal: list[Callable[[], None]] = []
_renewal_lock = threading.Lock()
_renewed_s = float("-inf")


def diagnose_credentials(error: BaseException | None) -> CredentialsProblem:
    """Return what an error of a store says of the credentials.

    Args:
        error: The error; those that it came from are looked at as well.
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


def may_come(error: BaseException) -> bool:
    """Whether credentials that are not there now may come, as a service on this machine gives them.

    Args:
        error: What was raised for the lack of them.
    """
    names = {type(each).__name__ for each in _chain(error)}
    if names.intersection(_NEVER):
        return False
    is_told_where = any(
        os.environ.get(name)
        for name in (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        )
    )
    if is_told_where or names.intersection(_OF_SERVICES):
        return True
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return False
    if not _has_metadata_of_role():
        return False
    # It is there, and slow: botocore by itself gives it one second, once.
    os.environ.setdefault("AWS_METADATA_SERVICE_TIMEOUT", f"{_ANSWER_S:g}")
    os.environ.setdefault("AWS_METADATA_SERVICE_NUM_ATTEMPTS", str(_ATTEMPTS))
    return True


def on_renewal(forget: Callable[[], None]) -> None:
    """Have something done where credentials are to be asked for again.

    Args:
        forget: Lets go of clients that have the credentials of before.
    """
    _on_renewal.append(forget)


def renew() -> None:
    """Let go of all clients of this process that have the credentials of before."""
    global _renewed_s
    with _renewal_lock:
        if time.monotonic() - _renewed_s < _RENEW_EVERY_S:
            return
        for forget in _on_renewal:
            with contextlib.suppress(Exception):  # the next request says what is wrong
                forget()
        _renewed_s = time.monotonic()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _has_metadata_of_role() -> bool:
    """Whether a metadata service is there that may have a role for this machine."""
    import http.client  # most runs need none of it

    url = urlsplit(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA)
    host, port = url.hostname or "", url.port or 80
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError:
        return False
    try:
        return _status_of_roles(host, port) != http.client.NOT_FOUND
    except (OSError, http.client.HTTPException):
        return True  # it does not answer, or not yet


def _status_of_roles(host: str, port: int) -> int:
    import http.client

    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_ANSWER_S)) as asked:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        asked.request("PUT", "/latest/api/token", headers=lifetime)
        reply = asked.getresponse()
        token = reply.read(1 << 12).decode("latin-1") if reply.status == http.client.OK else ""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=_ANSWER_S)) as asked:
        headers = {"X-aws-ec2-metadata-token": token} if token else {}
        asked.request("GET", _ROLES, headers=headers)
        return asked.getresponse().status
