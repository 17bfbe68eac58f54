"""Redaction of credentials in all texts that are printed or stored."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.io.secret_names import KNOWN, LIKELY

_SECRET_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SECRET_OPTION = re.compile(r"key|secret|token|pass|cred|sas|auth|sign|connection", re.IGNORECASE)
# Options sent to servers. All their values count as secrets, apart from common headers.
_SENT_OPTIONS = ("headers", "cookies", "params", "auth")
_HARMLESS_HEADER = re.compile(r"accept(-.*)?|user-agent|referer|range|cache-control", re.IGNORECASE)
_MIN_SECRET_LENGTH = 8
"""Fewest characters of a secret. A shorter value, such as `test`, is in many harmless paths."""
# Secret keys of AWS contain slashes; `:80/` is a port and not a password.
_USERINFO = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)(?:[^/@\s]+|[^/@\s:]*:(?!\d*(?:/|\s|$))[^@\s]*)@", re.IGNORECASE
)
_SIGNED = re.compile(rf"\b((?:{KNOWN})=)[^&\s'\"#]+", re.IGNORECASE)
_IN_QUERY = re.compile(rf"([?&#](?:{LIKELY})=)[^&\s'\"#]+", re.IGNORECASE)
_TOKEN = re.compile(
    r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*|(?<=\bBearer )[\w.~+/=-]{8,}|(?<=\bBasic )[\w+/=]{8,}"
)


def redact(text: str, options: Mapping[str, Any]) -> str:
    """Return a text with all known credentials, and credentials in URIs, replaced by `***`.

    Args:
        text: Text to print or store.
        options: Options of a filesystem, of which some are credentials.
    """
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    for pattern in (_SIGNED, _IN_QUERY):
        text = pattern.sub(r"\1***", text)
    return _USERINFO.sub(r"\1***@", _TOKEN.sub("***", text))


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    found = (os.environ.get(name, "") for name in _SECRET_ENVIRONMENT)
    for value in (*found, *_secret_texts(options)):
        if len(value) >= _MIN_SECRET_LENGTH:
            yield value


def _secret_texts(options: Mapping[str, Any], is_sent: bool = False) -> Iterator[str]:
    for name, value in options.items():
        # An option for one host or bucket is named `PREFIX:NAME`.
        own_name = name.rpartition(":")[2]
        is_secret = is_sent and not _HARMLESS_HEADER.fullmatch(name)
        if isinstance(value, dict):
            yield from _secret_texts(value, own_name in _SENT_OPTIONS)
        elif is_secret or _SECRET_OPTION.search(own_name):
            yield from map(str, value if isinstance(value, list) else [value])
