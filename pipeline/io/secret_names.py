"""Names of query parameters that hold a secret or a signature.

Names such as `key` or `hash`, which an application may also use to select a recording, count as
well: a secret in a table that others read is worse than two recordings with the same URI.
"""

import re
from urllib.parse import unquote_plus

KNOWN = (
    r"x-(?:amz|goog|oss|cos|obs|ms)-[a-z-]+|awsaccesskeyid|googleaccessid|ossaccesskeyid|"
    r"expires|policy|key-pair-id|sig|hmac|auth|[\w-]*(?:signature|token|secret|password|api[-_]?key)"
)
"""Pattern of names that always denote a secret or a signature."""
LIKELY = (
    r"key|code|hash|sign|ticket|pass|passwd|pwd|passphrase|jwt|bearer|md5|"
    r"authorization|access|session|session[-_]?id|sessid|sid|otp|"
    r"q-(?:ak|sign-[a-z]+|key-time|header-list|url-param-list)|hdn(?:ts|ea|tl)|__gda__|"
    r"(?:ws|tx)time|e-?tag-?secret|[\w-]*(?:token__|auth[-_]?key|access[-_]?key(?:[-_]?id)?|"
    r"private[-_]?key|credentials?|auth[-_]?code|sas)"
)
"""Pattern of names that usually denote a secret, and sometimes select the recording."""
_KNOWN = re.compile(KNOWN, re.IGNORECASE)
_LIKELY = re.compile(LIKELY, re.IGNORECASE)
# Parameters of Azure's shared access signatures. They only count if there is also a `sig`.
_SHARED_ACCESS = re.compile(
    r"s[veprtsi]|srt|sip|spr|sdd|ske|skt|sks|skv|skoid|sktid|saoid|suoid|scid"
)
_TOKEN = re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*|(?:bearer|basic)[ +].+", re.IGNORECASE)


def is_known(name: str, has_sig: bool) -> bool:
    """Return whether a parameter's name always denotes a secret or a signature.

    Args:
        name: Name of the parameter, without percent-encoding.
        has_sig: Whether the query also has a parameter `sig`.
    """
    return bool((has_sig and _SHARED_ACCESS.fullmatch(name)) or _KNOWN.fullmatch(name))


def is_likely(name: str) -> bool:
    """Return whether a parameter's name usually denotes a secret."""
    return bool(_LIKELY.fullmatch(name))


def is_token(value: str) -> bool:
    """Return whether a parameter's value is a token, whatever its name."""
    return bool(_TOKEN.fullmatch(value))


def split_field(field: str) -> tuple[str, str]:
    """Split `name=value` into name and value, and decode their percent-encoding."""
    name, _, value = field.partition("=")
    return unquote_plus(name), unquote_plus(value)
