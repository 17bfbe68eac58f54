"""URLs that carry their own permission: what they name, without the signature.

A signature is a secret, and another one each time; neither a clip's id nor a table may hold it.
What else is in the query stays, as it may be what tells one recording from another. A person can
say by `--keep-query` and `--strip-query` which parameters are which.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.errors import UsageError
from pipeline.io.secret_names import is_known, is_likely, is_token, split_field
from pipeline.io.storage import HTTP_PROTOCOLS, protocol_of

EVERY_NAME = "all"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.IGNORECASE | re.DOTALL,
)
# Secret keys of AWS have slashes; `:80/` is a port.
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@?#:\[]*:(?!\d*(?:/|$))[^@]*@", re.IGNORECASE)
# A token in the place of a user's name; elsewhere a container or a user may stand there.
_TOKEN = re.compile(r"(?:https?|s3a?|gcs|gs)://[^/?#@]*@", re.IGNORECASE)


@dataclass(frozen=True)
class QueryRule:
    """Which parameters of a URL tell recordings apart, beyond what their names say.

    Attributes:
        keep: names that are kept, whatever they seem to be.
        strip: names that are left out of uris and clip ids; `all` leaves out every one.
    """

    keep: tuple[str, ...] = ()
    strip: tuple[str, ...] = ()

    def keeps(self, field: str, has_sig: bool) -> bool:
        """Whether a field `name=value` of a query may be shown and kept.

        Args:
            field: The field as the URL has it.
            has_sig: The query has a field `sig` as well.
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
    """A URI as it may be shown and kept: an http(s) one without the signature in its query.

    Args:
        uri: The URI.
        rule: Which parameters are kept.
    """
    parts = _parts(uri)
    if parts is None:
        return uri
    kept = [_kept(fields, rule) for fields in (parts.query, parts.fragment)]
    marked = (f"{mark}{'&'.join(each)}" for mark, each in zip("?#", kept, strict=True) if each)
    return parts.base + "".join(marked)


def hidden_difference(one: str, other: str, rule: QueryRule = DEFAULT_QUERY_RULE) -> str:
    """Return the name of a parameter that may tell two recordings apart and is not kept.

    Args:
        one: A URL with its signature.
        other: A URL with its signature, of which the same is kept.
        rule: Which parameters are kept.

    Returns:
        The name; empty where the two differ in nothing but signatures.
    """
    values = []
    for uri in (one, other):
        parts = _parts(uri)
        fields = map(split_field, parts.query if parts else ())
        values.append({name: value for name, value in fields if is_likely(name)})
    differing = [n for n in values[0] if values[0][n] != values[1].get(n, values[0][n])]
    is_asked_for = {*rule.strip} & {*differing, EVERY_NAME}
    return "" if is_asked_for or not differing else differing[0]


def _parts(uri: str) -> _Parts | None:
    """An http(s) URL, well formed or not, in its parts; None for any other URI."""
    match = _URL.fullmatch(uri) if protocol_of(uri) in HTTP_PROTOCOLS else None
    if match is None:
        return None
    base = f"{match['scheme'].lower()}://{match['authority']}{match['path']}"
    query, fragment = ((match[name] or "").split("&") for name in ("query", "fragment"))
    return _Parts(base, query, fragment)


def _kept(fields: list[str], rule: QueryRule) -> list[str]:
    has_sig = any(split_field(field)[0].lower() == "sig" for field in fields)
    return [field for field in fields if field and rule.keeps(field, has_sig)]


def refuse_password(uri: str, what: str = "source") -> None:
    """See that a URI has no password or token before its host, which would stand in every row.

    Args:
        uri: as a person gave it.
        what: it is the URI of.

    Raises:
        UsageError: it has.
    """
    for pattern, secret in ((_PASSWORD, "password"), (_TOKEN, "user name or token")):
        if pattern.match(uri):
            shown = pattern.sub(lambda _: f"{protocol_of(uri)}://***@", uri, count=1)
            raise UsageError(
                f"{what} {strip_signature(shown)!r}: has a {secret} in it; give it by "
                "--storage-options, as key=... and secret=..., or username=... and password=..."
            )
