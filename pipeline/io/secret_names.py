"""Names of query parameters that hold a secret, or a permission that is another one each time.

A name that an application may also use for what it delivers, as `key` or `hash`, counts as well: a
secret in a table that others read is worse than two recordings that have to be told apart.
"""

import re
from urllib.parse import unquote_plus

KNOWN = (
    r"x-(?:amz|goog|oss|cos|obs|ms)-[a-z-]+|awsaccesskeyid|googleaccessid|ossaccesskeyid|"
    r"expires|policy|key-pair-id|sig|hmac|auth|[\w-]*(?:signature|token|secret|password|api[-_]?key)"
)
"""Names that mean nothing but a permission."""
LIKELY = (
    r"key|code|hash|sign|ticket|pass|passwd|pwd|passphrase|jwt|bearer|md5|"
    r"authorization|access|session|session[-_]?id|sessid|sid|otp|"
    r"q-(?:ak|sign-[a-z]+|key-time|header-list|url-param-list)|hdn(?:ts|ea|tl)|__gda__|"
    r"(?:ws|tx)time|e-?tag-?secret|[\w-]*(?:token__|auth[-_]?key|access[-_]?key(?:[-_]?id)?|"
    r"private[-_]?key|credentials?|auth[-_]?code|sas)"
)
"""Names that mean a permission more often than not, and a part of the recording's name at times."""
_KNOWN = re.compile(KNOWN, re.IGNORECASE)
_LIKELY = re.compile(LIKELY, re.IGNORECASE)
# Azure's shared access signatures: these mean it only where there is a `sig`.
_SHARED_ACCESS = re.compile(
    r"s[veprtsi]|srt|sip|spr|sdd|ske|skt|sks|skv|skoid|sktid|saoid|suoid|scid"
)
_TOKEN = re.compile(r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*|(?:bearer|basic)[ +].+", re.IGNORECASE)


def is_known(name: str, has_sig: bool) -> bool:
    """Whether a parameter's name means nothing but a permission.

    Args:
        name: The name, without percent-encoding.
        has_sig: There is a parameter `sig` as well.
    """
    return bool((has_sig and _SHARED_ACCESS.fullmatch(name)) or _KNOWN.fullmatch(name))


def is_likely(name: str) -> bool:
    """Whether a parameter's name means a permission more often than not."""
    return bool(_LIKELY.fullmatch(name))


def is_token(value: str) -> bool:
    """Whether a parameter's value is a token, whatever its name."""
    return bool(_TOKEN.fullmatch(value))


def split_field(field: str) -> tuple[str, str]:
    """Return name and value of `name=value`, without percent-encoding."""
    name, _, value = field.partition("=")
    return unquote_plus(name), unquote_plus(value)
