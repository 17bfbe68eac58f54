"""What the tests of `models` share: small and full state dicts, and nets of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.archs import ARCHS, ArchSpec
from models.passt import PaSST
from models.weights import random_state_dict


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
