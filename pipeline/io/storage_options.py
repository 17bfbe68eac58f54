"""`--storage-options`: NAME=VALUE for every store, or PREFIX:NAME=VALUE for one host or bucket.

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
    """`--storage-options k=v` as fsspec takes them; a value that is JSON is read as such.

    Raises:
        UsageError: one has no `=`, or a scope that is no URI.
    """
    options: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise UsageError(
                "storage_options must be NAME=VALUE, as anon=true, or PREFIX:NAME=VALUE, as "
                "s3://bucket/:anon=true (got one without a name or without =)"
            )
        if "://" in name and _SCOPED.fullmatch(name) is None:
            raise UsageError(
                "storage_options of one host or bucket are PREFIX:NAME=VALUE, as "
                "https://api.example.org/:headers={...} (got one without a name after its prefix)"
            )
        options[name] = text
        with contextlib.suppress(ValueError, RecursionError):
            options[name] = json.loads(text)
    return tuple(sorted(options.items()))


def options_of(options: Options, uri: str) -> dict[str, Any]:
    """Return the options for a URI: those for every store, then those whose prefix fits.

    Args:
        options: All options, as `parse_options` returns them.
        uri: The URI that is reached.
    """
    return _merged(options, uri, with_general=True)


def scoped_options_of(options: Options, uri: str) -> dict[str, Any]:
    """Return the options whose prefix fits a URI, without those for every store.

    Args:
        options: All options, as `parse_options` returns them.
        uri: The URI that is reached.
    """
    return _merged(options, uri, with_general=False)


def _merged(options: Options, uri: str, with_general: bool) -> dict[str, Any]:
    found: list[tuple[str, str, Any]] = []
    for name, value in options:
        scope = _SCOPED.fullmatch(name)
        if scope is None and with_general:
            found.append(("", name, value))
        elif scope and _is_below(uri, scope[1]):
            found.append((scope[1], scope[2], value))
    merged: dict[str, Any] = {}
    for _, name, value in sorted(found, key=lambda each: len(each[0])):
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = {**before, **value} if both else value  # type: ignore[dict-item]
    return merged


def _is_below(uri: str, prefix: str) -> bool:
    """Whether a URI lies below a prefix: of the same host or bucket, and of the same folder."""
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
