"""Fixtures for the tests of `models`: specs, state dicts, nets, and an HTTP host of checkpoints."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from torch import Tensor

from models import archs
from models.archs import ARCHS, ArchSpec
from models.checkpoints.state_dict import random_state_dict
from models.passt.transformer import PaSST


@pytest.fixture(scope="session")
def spec() -> ArchSpec:
    """The published arch that is cheapest to compute, with patches that do not overlap."""
    return ARCHS["passt_s_p16_s16_128_ap468"]


@pytest.fixture(scope="session")
def state_dict(spec) -> dict[str, Tensor]:
    """Random weights of `spec`, 345 MB; tests must neither modify nor save them."""
    return random_state_dict(spec, 0)


@pytest.fixture(scope="session")
def small_spec(spec) -> ArchSpec:
    """The arch with one block instead of twelve, for tests of files."""
    return replace(spec, depth=1)


@pytest.fixture(scope="session")
def small_state_dict(small_spec) -> dict[str, Tensor]:
    """Random weights of `small_spec`, 35 MB."""
    return random_state_dict(small_spec, 0)


@pytest.fixture(scope="session")
def build_net() -> Callable[..., PaSST]:
    """A function that builds a `PaSST` from a spec, on the meta device if it gets no state dict."""

    def build(spec: ArchSpec, state_dict: Mapping[str, Tensor] | None = None) -> PaSST:
        with torch.device("meta"):
            net = PaSST(spec)
        if state_dict is not None:
            net.load_state_dict(state_dict, assign=True)
        return net.eval().requires_grad_(False)

    return build


@dataclass
class CheckpointHost:
    """Response that the HTTP server sends, and the paths that clients requested."""

    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    requested_paths: list[str] = field(default_factory=list)

    def serve(self, content: bytes) -> None:
        self.content, self.headers = content, {"Content-Length": str(len(content))}


@pytest.fixture
def checkpoint_host(monkeypatch) -> Iterator[CheckpointHost]:
    """An HTTP host that replaces GitHub's releases and is reached without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host = CheckpointHost()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host.requested_paths.append(self.path)
            self.send_response(host.status)
            for name, value in {**host.headers, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(host.content)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so closing the server waits for its last response

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(archs, "RELEASES_URL", f"http://127.0.0.1:{server.server_port}/")
        yield host
        server.shutdown()
        thread.join()
