"""Fixtures of all tests: the reference implementation, audio for both implementations, S3 servers.

The published weights are not available to the tests. Parity is shown on random state dicts, which
are loaded into both implementations.
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
    # A CPU interprets the kernels for GPUs. Triton reads this variable when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

ReferenceNet = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def moto(tmp_path_factory) -> Iterator[S3Server]:
    """A simulated S3 server."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory) -> Iterator[S3Server]:
    """A real S3 server. CI fails without its programs; elsewhere its tests are skipped."""
    if missing := missing_ceph_programs():
        reason = f"no {', '.join(missing)}: apt-get install radosgw ceph-mon ceph-osd"
        pytest.fail(reason) if is_ci() else pytest.skip(reason)
    with rados_gateway(tmp_path_factory.mktemp("rgw")) as server:
        yield server


@pytest.fixture
def quick_arch(monkeypatch) -> None:
    """Register the quick arch in this process; `tests/site` does so in the processes of tests."""
    from tests.support import QUICK_ARCH, QUICK_SPEC  # its imports may be missing on a GPU machine

    monkeypatch.setitem(ARCHS, QUICK_ARCH, QUICK_SPEC)


@contextlib.contextmanager
def silence_reference() -> Iterator[None]:
    """Suppress the prints of hear21passt and its warnings about short clips."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def reference_net() -> ReferenceNet:
    """Function that builds the reference's transformer, without a state dict on the meta device."""
    with silence_reference():
        from hear21passt.models import passt as reference

    def build(spec: ArchSpec, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module:
        settings = {
            "pretrained": False,
            "n_classes": spec.n_classes,
            "fstride": spec.stride,
            "tstride": spec.stride,
            "input_tdim": spec.input_tdim,
        }
        with silence_reference(), pytest.MonkeyPatch.context() as patch, torch.device("meta"):
            # It reads its drop-path rates back from a tensor, and meta tensors hold no values.
            patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
            try:
                net = reference.get_model(arch=spec.name, **settings)
            except RuntimeError as error:
                if "Unknown model" not in str(error):
                    raise
                # Its list of models leaves out some of its functions, which our aliases name.
                build_alias = getattr(reference, spec.name, getattr(reference, DEFAULT_ARCH))
                patch.setattr(reference, DEFAULT_ARCH, build_alias)
                net = reference.get_model(arch=DEFAULT_ARCH, **settings)
        net.blocks = net.blocks[: spec.depth]
        if state_dict is not None:
            net.load_state_dict(state_dict, assign=True)
        return net.eval()

    return build


@pytest.fixture(scope="session")
def reference_mel() -> Callable[[int], nn.Module]:
    """Function that builds the reference's front end for a hop, in evaluation mode."""
    with silence_reference():
        from hear21passt.models.preprocess import AugmentMelSTFT

    def build(hop_samples: int) -> nn.Module:
        with silence_reference():
            # hear21passt's own modules use these settings.
            return AugmentMelSTFT(
                hopsize=hop_samples, fmax=None, fmin_aug_range=10, fmax_aug_range=2000
            ).eval()

    return build


@pytest.fixture(scope="session")
def quietly() -> Callable[..., Any]:
    """Function that calls the reference without gradients, prints or warnings."""

    def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with silence_reference(), torch.no_grad():
            return function(*args, **options)

    return call


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Function that builds windows of roughly pink noise, whose spectrum falls as that of audio."""

    def build(n_samples: int, seed: int = 0) -> np.ndarray:
        white = np.random.default_rng(seed).standard_normal(n_samples)
        spectrum = np.fft.rfft(white)
        spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1))
        pink = np.fft.irfft(spectrum, n_samples)
        return (0.5 * pink / np.abs(pink).max()).astype(np.float32)

    return build
