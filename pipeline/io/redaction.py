"""Texts without credentials: nothing that is shown or kept may hold one."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.io.secret_names import KNOWN, LIKELY

_SECRET_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SECRET_OPTION = re.compile(r"key|secret|token|pass|cred|sas|auth|sign|connection", re.IGNORECASE)
# What servers are sent: all of it counts, but for what every browser sends.
_SENT = ("headers", "cookies", "params", "auth")
_HARMLESS_HEADER = re.compile(r"accept(-.*)?|user-agent|referer|range|cache-control", re.IGNORECASE)
_SHORTEST_SECRET = 8
"""Shorter values are words of many texts: hiding each `test` would hide half of the paths."""
# Secret keys of AWS have slashes; `:80/` is a port.
_USERINFO = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)(?:[^/@\s]+|[^/@\s:]*:(?!\d*(?:/|\s|$))[^@\s]*)@", re.IGNORECASE
)
_SIGNED = re.compile(rf"\b((?:{KNOWN})=)[^&\s'\"#]+", re.IGNORECASE)
_IN_QUERY = re.compile(rf"([?&#](?:{LIKELY})=)[^&\s'\"#]+", re.IGNORECASE)
_TOKEN = re.compile(
    r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*|(?<=\bBearer )[\w.~+/=-]{8,}|(?<=\bBasic )[\w+/=]{8,}"
)


def redact(text: str, options: Mapping[str, Any]) -> str:
    """A text without the credentials that this process knows, and without those in URIs.

    Args:
        text: for people.
        options: of a filesystem, some of which are credentials.
    """
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    for pattern in (_SIGNED, _IN_QUERY):
        text = pattern.sub(r"\1***", text)
    return _USERINFO.sub(r"\1***@", _TOKEN.sub("***", text))


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    found = (os.environ.get(name, "") for name in _SECRET_ENVIRONMENT)
    for value in (*found, *_secret_texts(options)):
        if len(value) >= _SHORTEST_SECRET:
            yield value


def _secret_texts(options: Mapping[str, Any], is_sent: bool = False) -> Iterator[str]:
    for name, value in options.items():
        # `PREFIX:NAME` where it is for one host alone
        own_name = name.rpartition(":")[2]
        is_secret = is_sent and not _HARMLESS_HEADER.fullmatch(name)
        if isinstance(value, dict):
            yield from _secret_texts(value, own_name in _SENT)
        elif is_secret or _SECRET_OPTION.search(own_name):
            yield from map(str, value if isinstance(value, list) else [value])
