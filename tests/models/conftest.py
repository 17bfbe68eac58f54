"""What the tests of `models` share: state dicts, nets of them, and a host of checkpoints."""

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
    """The cheapest published arch: patches that do not overlap."""
    return ARCHS["passt_s_p16_s16_128_ap468"]


@pytest.fixture(scope="session")
def state_dict(spec) -> dict[str, Tensor]:
    """Random weights of `spec`, 345 MB: not to be written to, nor saved."""
    return random_state_dict(spec, 0)


@pytest.fixture(scope="session")
def small_spec(spec) -> ArchSpec:
    """One block instead of twelve, where tests are about files."""
    return replace(spec, depth=1)


@pytest.fixture(scope="session")
def small_state_dict(small_spec) -> dict[str, Tensor]:
    """Random weights of `small_spec`, 35 MB."""
    return random_state_dict(small_spec, 0)


@pytest.fixture(scope="session")
def build_net() -> Callable[..., PaSST]:
    """Builds our transformer for a spec, with a state dict, or else of shapes only."""

    def build(spec: ArchSpec, state_dict: Mapping[str, Tensor] | None = None) -> PaSST:
        with torch.device("meta"):
            net = PaSST(spec)
        if state_dict is not None:
            net.load_state_dict(state_dict, assign=True)
        return net.eval().requires_grad_(False)

    return build


@dataclass
class Host:
    """What the server sends, and what it was asked for."""

    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def serve(self, content: bytes) -> None:
        self.content, self.headers = content, {"Content-Length": str(len(content))}


@pytest.fixture
def checkpoint_host(monkeypatch) -> Iterator[Host]:
    """A host of checkpoints in place of GitHub's releases, and no proxy before it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            host.asked.append(self.path)
            self.send_response(host.status)
            for name, value in {**host.headers, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(host.content)

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing it waits for its last answer

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(archs, "RELEASES_URL", f"http://127.0.0.1:{server.server_port}/")
        yield host
        server.shutdown()
        thread.join()
