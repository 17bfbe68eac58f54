"""Whether a Ray cluster answers at an address, asked before Ray is: it waits for many minutes."""

import os
import socket
from typing import Any

from ray._common.utils import get_ray_address_file
from ray._private import services

from pipeline.errors import UsageError
from pipeline.io.redaction import redact
from pipeline.io.storage import first_line

ANSWER_TIMEOUT_S = 10.0
_ADDRESS_VARIABLE = "RAY_ADDRESS"


def check_answers(address: str) -> None:
    """Raise if no Ray cluster answers at an address.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        UsageError: Nothing answers there within `ANSWER_TIMEOUT_S`, or nothing says where it is.
    """
    if "://" in address and not address.startswith("ray://"):
        raise UsageError(
            f"address {redact(address, {})!r} must be local, auto, HOST:PORT or ray://HOST:PORT; "
            "the URL of a dashboard is for `passtream submit`"
        )
    named, whence, way_out = address, "no Ray cluster", ""
    if address == "auto":
        named, whence, way_out = _found()
    host, port = _host_and_port(named)
    if not port:
        return  # Ray says what it makes of that
    if reason := _silence(host, port, is_client="://" in named):
        raise UsageError(
            f"address {address!r}: {whence} reachable there ({named}: {reason}); {way_out}"
            "--address local starts one"
        )


def _found() -> tuple[str, str, str]:
    """Return the address that `auto` stands for, what says so, and what to do if it is wrong.

    Raises:
        UsageError: Nothing says where a cluster is.
    """
    if named := os.environ.get(_ADDRESS_VARIABLE, ""):
        return (
            named,
            f"{_ADDRESS_VARIABLE} names a cluster that is not",
            (f"set {_ADDRESS_VARIABLE} to one that runs, or unset it; "),
        )
    services.find_gcs_addresses.cache_clear()  # type: ignore[attr-defined]
    try:
        named = services.get_ray_address_from_environment("auto", None)
    except ConnectionError as error:
        raise UsageError(
            "address 'auto': no Ray cluster runs on this machine; name one by --address "
            "HOST:PORT or RAY_ADDRESS, or --address local starts one"
        ) from error
    note = get_ray_address_file(None)
    return (
        named,
        f"Ray's note {note} names a cluster that is not",
        ("delete that file (`ray stop` does), or name the cluster by --address HOST:PORT; "),
    )


def _host_and_port(address: str) -> tuple[str, int]:
    """Return both parts of an address; port 0 where it has none."""
    host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
    return host.strip("[]"), int(port) if host and port.isdecimal() else 0


def _silence(host: str, port: int, is_client: bool) -> str:
    """Return why a server does not answer; empty where it does."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S):
            pass
    except OSError as error:
        return first_line(error)
    if is_client or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return ""
    import grpc  # takes its time, and a Ray of one's own needs none of it

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    # A proxy is for the world outside; Ray asks its clusters without one as well.
    options = (("grpc.enable_http_proxy", 0),)
    channel: Any = grpc.insecure_channel(target, options=options)
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_TIMEOUT_S)
    except grpc.FutureTimeoutError:
        return f"what listens there does not answer as Ray does within {ANSWER_TIMEOUT_S:g} s"
    finally:
        channel.close()
    return ""
