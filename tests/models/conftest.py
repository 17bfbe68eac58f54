"""What the tests of `models` share: small and full state dicts, and the reference implementation.

The published weights cannot be had here, so parity is shown on random state dicts, loaded into
both implementations.
"""

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import archs
from models.archs import ARCHS, DEFAULT_ARCH, ArchSpec
from models.passt import PaSST
from models.weights import random_state_dict

ReferenceNet = Callable[..., nn.Module]


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Around all of hear21passt: it prints what it builds and warns of every short clip."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def reference_net() -> ReferenceNet:
    """Builds the reference's transformer for a spec, with a state dict, or else of shapes only."""
    with hushed():
        from hear21passt.models import passt as reference

    def build(spec: ArchSpec, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module:
        settings = {
            "pretrained": False,
            "n_classes": spec.n_classes,
            "fstride": spec.stride,
            "tstride": spec.stride,
            "input_tdim": spec.input_tdim,
        }
        with hushed(), pytest.MonkeyPatch.context() as patch, torch.device("meta"):
            # Its drop-path rates are read back from a tensor, which a meta tensor cannot do.
            patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
            try:
                net = reference.get_model(arch=spec.name, **settings)
            except RuntimeError as error:
                if "Unknown model" not in str(error):
                    raise
                # It has functions that its own list leaves out: those that our aliases name.
                build_it = getattr(reference, spec.name, getattr(reference, DEFAULT_ARCH))
                patch.setattr(reference, DEFAULT_ARCH, build_it)
                net = reference.get_model(arch=DEFAULT_ARCH, **settings)
        if state_dict is not None:
            net.load_state_dict(state_dict, assign=True)
        return net.eval()

    return build


@pytest.fixture(scope="session")
def reference_mel() -> Callable[[int], nn.Module]:
    """Builds the reference's front end for a hop, in evaluation mode."""
    with hushed():
        from hear21passt.models.preprocess import AugmentMelSTFT

    def build(hop_samples: int) -> nn.Module:
        with hushed():
            # The settings of hear21passt's own modules.
            return AugmentMelSTFT(
                hopsize=hop_samples, fmax=None, fmin_aug_range=10, fmax_aug_range=2000
            ).eval()

    return build


@pytest.fixture(scope="session")
def quietly() -> Callable[..., Any]:
    """Calls the reference without gradients, prints or warnings."""

    def call(function: Callable[..., Any], *args: Any) -> Any:
        with hushed(), torch.no_grad():
            return function(*args)

    return call


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


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Builds windows of pink-ish noise: loud below, faint above, as audio is."""

    def build(n_samples: int, seed: int = 0) -> np.ndarray:
        white = np.random.default_rng(seed).standard_normal(n_samples)
        spectrum = np.fft.rfft(white)
        spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1))
        pink = np.fft.irfft(spectrum, n_samples)
        return (0.5 * pink / np.abs(pink).max()).astype(np.float32)

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
