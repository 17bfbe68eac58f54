"""Texts without credentials: nothing that is shown or kept may hold one."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

_SECRET_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SECRET_OPTION = re.compile(r"key|secret|token|pass|cred|sas|auth|sign|connection", re.IGNORECASE)
_SHORTEST_SECRET = 4
# Secret keys of AWS have slashes; `:80/` is a port.
_USERINFO = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)(?:[^/@\s]+|[^/@\s:]*:(?!\d*(?:/|\s|$))[^@\s]*)@", re.IGNORECASE
)
_SIGNED = re.compile(
    r"\b((?:X-Amz-[a-z-]+|X-Goog-[a-z-]+|AWSAccessKeyId|sig|hmac|auth|"
    r"[\w-]*(?:signature|token|secret|password|api_?key))=)[^&\s'\"]+",
    re.IGNORECASE,
)


def redacted(text: str, options: Mapping[str, Any]) -> str:
    """A text without the credentials that this process knows, and without those in URIs.

    Args:
        text: for people.
        options: of a filesystem, some of which are credentials.
    """
    for secret in sorted(_secrets(options), key=len, reverse=True):
        text = text.replace(secret, "***")
    return _USERINFO.sub(r"\1***@", _SIGNED.sub(r"\1***", text))


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    yield from (value for name in _SECRET_ENVIRONMENT if (value := os.environ.get(name)))
    yield from (value for value in _secret_texts(options) if len(value) >= _SHORTEST_SECRET)


def _secret_texts(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _secret_texts(value)
        elif _SECRET_OPTION.search(name):
            yield str(value)
