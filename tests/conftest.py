"""What the tests share: the reference implementation, audio for both, and S3 servers.

The published weights cannot be had here, so parity is shown on random state dicts, loaded into
both implementations.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.archs import ARCHS, DEFAULT_ARCH, ArchSpec
from tests.servers import S3Server, is_ci, missing_ceph_programs, moto_server, rados_gateway

if not torch.cuda.is_available():
    # Kernels for GPUs are interpreted on a CPU; Triton asks for this when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

ReferenceNet = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def moto(tmp_path_factory) -> Iterator[S3Server]:
    """A stand-in for S3."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory) -> Iterator[S3Server]:
    """A real S3 server; must be there in CI."""
    if missing := missing_ceph_programs():
        reason = f"no {', '.join(missing)}: apt-get install radosgw ceph-mon ceph-osd"
        pytest.fail(reason) if is_ci() else pytest.skip(reason)
    with rados_gateway(tmp_path_factory.mktemp("rgw")) as server:
        yield server


@pytest.fixture
def quick_arch(monkeypatch) -> None:
    """Make the quick arch known in this process; those that tests start know it of themselves."""
    from tests.support import QUICK_ARCH, QUICK_SPEC  # a machine with a GPU may not have its needs

    monkeypatch.setitem(ARCHS, QUICK_ARCH, QUICK_SPEC)


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
        net.blocks = net.blocks[: spec.depth]
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

    def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with hushed(), torch.no_grad():
            return function(*args, **options)

    return call


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
