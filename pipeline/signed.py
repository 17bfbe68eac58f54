"""URLs that carry their own permission: what they name, without the signature.

A signature is a secret, and another one each time; neither a clip's id nor a table may hold it.
What else is in the query stays, as it may be what tells one recording from another.
"""

import re
from urllib.parse import parse_qsl, urlsplit

from pipeline.errors import UsageError
from pipeline.storage import HTTP_PROTOCOLS, protocol_of

_SIGNATURE = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|expires|policy|key-pair-id|sig|hmac|auth|"
    r".*(signature|token|secret|password|api_?key)",
    re.IGNORECASE,
)
# Azure's shared access signatures: these mean it only where there is a `sig`.
_SHARED_ACCESS = re.compile(
    r"s[veprtsi]|srt|sip|spr|sdd|ske|skt|sks|skv|skoid|sktid|saoid|suoid|scid"
)
# Secret keys of AWS have slashes; `:80/` is a port.
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@?#:]*:(?!\d*(?:/|$))[^@]*@", re.IGNORECASE)


def without_signature(uri: str) -> str:
    """A URI as it may be shown and kept: an http(s) one without the signature in its query."""
    if protocol_of(uri) not in HTTP_PROTOCOLS:
        return uri
    parts = urlsplit(uri)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    has_sig = any(name.lower() == "sig" for name in names)
    kept = [
        field
        for field in parts.query.split("&")
        if field and not _is_signature(field.partition("=")[0], has_sig)
    ]
    return parts._replace(query="&".join(kept)).geturl()


def _is_signature(name: str, has_sig: bool) -> bool:
    is_shared_access = has_sig and _SHARED_ACCESS.fullmatch(name)
    return bool(is_shared_access or _SIGNATURE.fullmatch(name))


def refuse_password(uri: str, what: str = "source") -> None:
    """See that a URI has no password in it, which would stand in every row.

    Args:
        uri: as a person gave it.
        what: it is the URI of.

    Raises:
        UsageError: it has.
    """
    if _PASSWORD.match(uri):
        shown = _PASSWORD.sub(f"{protocol_of(uri)}://***@", uri)
        raise UsageError(
            f"{what} {without_signature(shown)!r}: has a password in it; give it by "
            "--storage-options, as key=... and secret=..., or username=... and password=..."
        )
