"""Signed URLs: removal of the signature, so that a URL can be stored and printed.

A signature is a secret and differs each time, so neither a clip's id nor a table may contain it.
Other parameters of the query stay, because they may distinguish recordings. The user can overrule
both with `--keep-query` and `--strip-query`.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import UsageError
from pipeline.io.protocols import HTTP_PROTOCOLS, protocol_of
from pipeline.io.secret_names import is_known, is_likely, is_token, split_field

EVERY_NAME = "all"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.IGNORECASE | re.DOTALL,
)
# Secret keys of AWS contain slashes; `:80/` is a port and not a password.
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@?#:\[]*:(?!\d*(?:/|$))[^@]*@", re.IGNORECASE)
# With these schemes a name before `@` can only be a secret. With others, such as az://, it can be
# a container or a user.
_TOKEN = re.compile(r"(?:https?|s3a?|gcs|gs)://[^/?#@]*@", re.IGNORECASE)


@dataclass(frozen=True)
class QueryRule:
    """Rules that decide which query parameters of a URL are kept in its URI and clip id.

    Attributes:
        keep: Names of parameters to keep, even if they look like secrets.
        strip: Names of parameters to remove. `all` removes all that `keep` does not name.
    """

    keep: tuple[str, ...] = ()
    strip: tuple[str, ...] = ()

    def keeps(self, field: str, has_sig: bool) -> bool:
        """Return whether a field `name=value` of a query may be stored and printed.

        Args:
            field: Field, percent-encoded as in the URL.
            has_sig: Whether the query also has a field `sig`.
        """
        name, value = split_field(field)
        if name in self.keep:
            return True
        if name in self.strip or EVERY_NAME in self.strip:
            return False
        return not (is_known(name, has_sig) or is_likely(name) or is_token(value))


DEFAULT_QUERY_RULE = QueryRule()


class _Parts(NamedTuple):
    base: str
    query: list[str]
    fragment: list[str]


def strip_signature(uri: str, rule: QueryRule = DEFAULT_QUERY_RULE) -> str:
    """Return a URI that may be stored and printed: without a signature if it is http(s).

    Args:
        uri: Any URI; a URI that is not http(s) stays unchanged.
        rule: Rule for the parameters to keep.
    """
    parts = _split(uri)
    if parts is None:
        return uri
    kept = [_kept_fields(fields, rule) for fields in (parts.query, parts.fragment)]
    marked = (f"{mark}{'&'.join(each)}" for mark, each in zip("?#", kept, strict=True) if each)
    return parts.base + "".join(marked)


def hidden_difference(one: str, other: str, rule: QueryRule = DEFAULT_QUERY_RULE) -> str:
    """Return the name of a removed parameter that may distinguish two recordings.

    Args:
        one: URL with its signature.
        other: Another URL with its signature; both are equal after `strip_signature`.
        rule: Rule for the parameters to keep.

    Returns:
        Name of the parameter. Empty if the URLs only differ in signatures, or if the rule strips
        the parameter explicitly.
    """
    values = []
    for uri in (one, other):
        parts = _split(uri)
        fields = map(split_field, parts.query if parts else ())
        values.append({name: value for name, value in fields if is_likely(name)})
    differing = [n for n in values[0] if values[0][n] != values[1].get(n, values[0][n])]
    is_stripped_by_rule = {*rule.strip} & {*differing, EVERY_NAME}
    return "" if is_stripped_by_rule or not differing else differing[0]


def _split(uri: str) -> _Parts | None:
    """Split an http(s) URL, well formed or not, into its parts; return None for other URIs."""
    match = _URL.fullmatch(uri) if protocol_of(uri) in HTTP_PROTOCOLS else None
    if match is None:
        return None
    base = f"{match['scheme'].lower()}://{match['authority']}{match['path']}"
    query, fragment = ((match[name] or "").split("&") for name in ("query", "fragment"))
    return _Parts(base, query, fragment)


def _kept_fields(fields: list[str], rule: QueryRule) -> list[str]:
    has_sig = any(split_field(field)[0].lower() == "sig" for field in fields)
    return [field for field in fields if field and rule.keeps(field, has_sig)]


def refuse_password(uri: str, what: str = "source") -> None:
    """Raise UsageError if a URI has a password or token before its host.

    The secret would be stored in every row.

    Args:
        uri: URI as the user gave it.
        what: Thing that the URI names, for the message.

    Raises:
        UsageError: The URI has a password, user name or token before its host.
    """
    for pattern, secret in ((_PASSWORD, "password"), (_TOKEN, "user name or token")):
        if pattern.match(uri):
            shown = pattern.sub(lambda _: f"{protocol_of(uri)}://***@", uri, count=1)
            raise UsageError(
                f"{what} {strip_signature(shown)!r}: contains a {secret}; pass it with "
                "--storage-options, as key=... and secret=..., or username=... and password=..."
            )
