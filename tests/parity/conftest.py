"""HEAR modules twice, of `models.hear` and of hear21passt; and a cache of published weights."""

import importlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.archs import ARCHS, arch_spec
from models.checkpoints.published import cached_path
from models.checkpoints.state_dict import random_state_dict
from models.hear.registry import HEAR_MODULES
from models.hear.wrapper import PasstWrapper

SEED = 0
# hear21passt has no base2levelF, which its README asks for: it is what it calls base2level.
REFERENCE_NAMES = {"base2levelF": "base2level"}
# hear21passt's openmic2008 asks for an arch of that name, which its get_model does not know.
REFERENCE_ARCHS = {"openmic2008": "openmic"}


@dataclass(frozen=True)
class Pair:
    """One HEAR module on both sides, with a model of each."""

    name: str
    ours: ModuleType
    theirs: ModuleType
    model: PasstWrapper
    reference: nn.Module
    quietly: Callable[..., Any]

    def scenes(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        expected = self.quietly(self.theirs.get_scene_embeddings, audio, self.reference)
        return self.ours.get_scene_embeddings(audio, self.model), expected

    def timestamps(self, audio: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        expected = self.quietly(self.theirs.get_timestamp_embeddings, audio, self.reference)
        return self.ours.get_timestamp_embeddings(audio, self.model), expected


@pytest.fixture(scope="session")
def build_pair(reference_net, quietly) -> Callable[..., Pair]:
    """Loads a module on both sides by their own `load_model`, cut to a few blocks.

    Windows, padding and averaging do not depend on the depth, and one block costs a twelfth.
    """

    @cache
    def weights(arch: str, depth: int) -> dict[str, Tensor]:
        return random_state_dict(replace(arch_spec(arch), depth=depth), SEED)

    def build(name: str, mode: str = "all", depth: int = 1) -> Pair:
        ours = importlib.import_module(f"models.hear.{name}")
        theirs = quietly(importlib.import_module, f"hear21passt.{REFERENCE_NAMES.get(name, name)}")
        spec = replace(arch_spec(HEAR_MODULES[name].arch), depth=depth)
        state_dict = weights(spec.name, depth) if depth == 1 else random_state_dict(spec, SEED)

        def get_model(arch: str, n_classes: int = 527, input_tdim: int = 998) -> nn.Module:
            """In place of its `get_model`, which would download; holds it to what it asked for."""
            asked = arch_spec(REFERENCE_ARCHS.get(arch, arch))
            assert (asked.name, n_classes, input_tdim) == (
                spec.name,
                spec.n_classes,
                spec.input_tdim,
            )
            return reference_net(spec, state_dict)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(theirs, "get_model_passt", get_model)
            patch.setitem(ARCHS, spec.name, spec)
            patch.setattr(torch.cuda, "is_available", lambda: False)
            reference = quietly(theirs.load_model, mode=mode)
            model = ours.load_model(f"random:{SEED}", mode=mode)
        return Pair(name, ours, theirs, model, reference, quietly)

    return build


@pytest.fixture(scope="session")
def sounds(noise) -> Callable[..., Tensor]:
    """Builds a batch of sounds that differ: (n_sounds, n_samples)."""

    def build(n_samples: int, n_sounds: int = 2) -> Tensor:
        rows = [noise(n_samples, seed) for seed in range(n_sounds)]
        return torch.from_numpy(np.stack(rows))

    return build


@pytest.fixture
def publish(tmp_path, monkeypatch) -> Iterator[Callable[[str], Path]]:
    """Puts random weights into the cache, where a loader looks for the published ones."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))

    def put(arch: str) -> Path:
        path = cached_path(arch_spec(arch))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(random_state_dict(arch_spec(arch), SEED), path)
        return path

    yield put
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # 345 MB a checkpoint
