"""The protocols of URIs, and the defaults of their filesystems."""

import os
import re
from typing import Any

_URI = re.compile(r"([a-z][a-z0-9+.-]*)://|(file):/", re.IGNORECASE)
S3_PROTOCOLS = ("s3", "s3a")
HTTP_PROTOCOLS = ("http", "https")  # their filesystem cannot list a folder
# Filesystems that cache listings; a cached listing would hide later changes.
_CACHING_PROTOCOLS = (*S3_PROTOCOLS, "gs", "gcs", "az", "abfs", "abfss")


def is_uri(location: str) -> bool:
    """Return whether a location is a URI; otherwise it is a local path."""
    return _URI.match(location) is not None


def protocol_of(uri: str) -> str:
    """Return the protocol of a URI, `s3` for `s3://bucket/key`, or an empty text for a path."""
    match = _URI.match(uri)
    return (match[1] or match[2]).lower() if match else ""


def is_remote(location: str) -> bool:
    """Return whether a location needs a `Storage`: it is a URI, and not of a local file."""
    return protocol_of(location) not in ("", "file", "local")


def filesystem_defaults(protocol: str, read_timeout_s: float) -> dict[str, Any]:
    """Return the options that a protocol's filesystem gets unless the user gives others.

    Args:
        protocol: Protocol of a URI.
        read_timeout_s: Seconds of silence after which a request is given up.
    """
    connect_timeout_s = min(10.0, read_timeout_s)
    if protocol in HTTP_PROTOCOLS:
        import aiohttp  # a slow import that most runs do not need

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout_s, sock_read=read_timeout_s
        )
        return {"client_kwargs": {"timeout": timeout}}
    if protocol not in S3_PROTOCOLS:
        return {"use_listings_cache": False} if protocol in _CACHING_PROTOCOLS else {}
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return {
        # botocore only reads AWS_DEFAULT_REGION, while other AWS tools read AWS_REGION.
        "client_kwargs": {"region_name": region} if region else {},
        "use_listings_cache": False,
        "config_kwargs": {
            "retries": {"mode": "standard", "total_max_attempts": 2},
            "connect_timeout": connect_timeout_s,
            "read_timeout": read_timeout_s,
        },
    }
