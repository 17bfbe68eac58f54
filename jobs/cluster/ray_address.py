"""A check that a Ray cluster answers at an address, as Ray itself would wait for many minutes."""

import os
import socket
from typing import Any

from ray._common.utils import get_ray_address_file
from ray._private import services

from pipeline.errors import UsageError
from pipeline.io.redaction import redact
from pipeline.io.storage import first_line

ANSWER_TIMEOUT_S = 10.0
"""Time in seconds that a cluster has to answer."""
_ADDRESS_VARIABLE = "RAY_ADDRESS"


def check_reachable(address: str) -> None:
    """Raise if no Ray cluster answers at an address.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        UsageError: No cluster answers there within `ANSWER_TIMEOUT_S`, or `auto` finds no address.
    """
    if "://" in address and not address.startswith("ray://"):
        raise UsageError(
            f"address {redact(address, {})!r} must be local, auto, HOST:PORT or ray://HOST:PORT; "
            "the URL of a dashboard is for `passtream submit`"
        )
    resolved, source, way_out = address, "no Ray cluster", ""
    if address == "auto":
        resolved, source, way_out = _resolve_auto()
    host, port = _host_and_port(resolved)
    if not port:
        return  # Ray reports the malformed address
    if reason := _unreachable_reason(host, port, is_client="://" in resolved):
        raise UsageError(
            f"address {address!r}: {source} reachable there ({resolved}: {reason}); {way_out}"
            "--address local starts one"
        )


def _resolve_auto() -> tuple[str, str, str]:
    """Resolve the address `auto` from the environment or from Ray's file.

    Returns:
        The address, the start of a message that names its source, and the way out if it is wrong.

    Raises:
        UsageError: Neither of them names a cluster.
    """
    if address := os.environ.get(_ADDRESS_VARIABLE, ""):
        return (
            address,
            f"{_ADDRESS_VARIABLE} names a cluster that is not",
            (f"set {_ADDRESS_VARIABLE} to one that runs, or unset it; "),
        )
    services.find_gcs_addresses.cache_clear()  # type: ignore[attr-defined]
    try:
        address = services.get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise UsageError(
            "address 'auto': no Ray cluster runs on this machine; name one with --address "
            "HOST:PORT or RAY_ADDRESS, or --address local starts one"
        ) from error
    path = get_ray_address_file(None)
    return (
        address,
        f"Ray's file {path} names a cluster that is not",
        ("delete that file (`ray stop` does), or name the cluster with --address HOST:PORT; "),
    )


def _host_and_port(address: str) -> tuple[str, int]:
    """Split an address into host and port; the port is 0 if there is none."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    return host.strip("[]"), int(port) if host and port.isdecimal() else 0


def _unreachable_reason(host: str, port: int, is_client: bool) -> str:
    """Return why no Ray cluster answers at a host and port; empty if one does."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S):
            pass
    except OSError as error:
        return first_line(error)
    if is_client or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return ""
    import grpc  # slow to import, and not needed for a local Ray

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # Ray does not use a proxy for its own clusters either.
    options = (("grpc.enable_http_proxy", 0),)
    channel: Any = grpc.insecure_channel(target, options=options)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_TIMEOUT_S)
    except grpc.FutureTimeoutError:
        return f"what listens there does not answer as Ray does within {ANSWER_TIMEOUT_S:g} s"
    finally:
        channel.close()
    return ""
