"""The option `--storage-options`: NAME=VALUE for all stores, PREFIX:NAME=VALUE for one.

A prefix selects one host or bucket, or a folder in it. Examples:

anon=true
https://api.example.org/:headers={"X-Api-Key": "..."}
s3://private-bucket/:key=...
"""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import UsageError
from pipeline.io.http.host_rules import origin_of

Options = tuple[tuple[str, Any], ...]
_SCOPED = re.compile(r"([a-z][a-z0-9+.-]*://[^=]*?):([A-Za-z_]\w*)", re.IGNORECASE)


def parse_options(given: Iterable[str]) -> Options:
    """Parse values of `--storage-options`, each `NAME=VALUE`; values that are JSON are decoded.

    Raises:
        UsageError: A value has no name or no `=`, or a prefix without a name.
    """
    options: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise UsageError(
                "storage_options must be NAME=VALUE, such as anon=true, or PREFIX:NAME=VALUE, such "
                "as s3://bucket/:anon=true (got one without a name or without =)"
            )
        if "://" in name and _SCOPED.fullmatch(name) is None:
            raise UsageError(
                "storage_options of one host or bucket are PREFIX:NAME=VALUE, such as "
                "https://api.example.org/:headers={...} (got one without a name after its prefix)"
            )
        options[name] = text
        with contextlib.suppress(ValueError, RecursionError):
            options[name] = json.loads(text)
    return tuple(sorted(options.items()))


def options_of(options: Options, uri: str) -> dict[str, Any]:
    """Return the options for a URI: options for all stores, overridden by matching prefixes.

    Args:
        options: All options, as `parse_options` returns them.
        uri: URI of the remote location.
    """
    return _merge(options, uri, with_general=True)


def scoped_options_of(options: Options, uri: str) -> dict[str, Any]:
    """Return the options with a prefix that matches a URI, without options for all stores.

    Args:
        options: All options, as `parse_options` returns them.
        uri: URI of the remote location.
    """
    return _merge(options, uri, with_general=False)


def _merge(options: Options, uri: str, with_general: bool) -> dict[str, Any]:
    found: list[tuple[str, str, Any]] = []
    for name, value in options:
        scope = _SCOPED.fullmatch(name)
        if scope is None and with_general:
            found.append(("", name, value))
        elif scope and _is_below(uri, scope[1]):
            found.append((scope[1], scope[2], value))
    merged: dict[str, Any] = {}
    for _, name, value in sorted(found, key=lambda each: len(each[0])):
        previous = merged.get(name)
        both = isinstance(previous, Mapping) and isinstance(value, Mapping)
        merged[name] = {**previous, **value} if both else value  # type: ignore[dict-item]
    return merged


def _is_below(uri: str, prefix: str) -> bool:
    """Return whether a URI is in the host or bucket, and in the folder, of a prefix."""
    scheme, _, rest = prefix.partition("://")
    if not rest:
        return origin_of(uri).startswith(f"{scheme.lower()}://")
    if origin_of(uri) != origin_of(prefix):
        return False
    folder, path = (_path_of(each) for each in (prefix, uri))
    return not folder or path == folder or path.startswith(f"{folder}/")


def _path_of(uri: str) -> str:
    if uri.lower().startswith(("http://", "https://")):
        return urlsplit(uri).path.rstrip("/")
    return uri.partition("://")[2].partition("/")[2].rstrip("/")
