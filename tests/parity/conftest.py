"""Fixtures of the parity tests: HEAR modules of ours and of hear21passt, and cached weights."""

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
# The README of hear21passt names base2levelF, but the package only has base2level.
REFERENCE_NAMES = {"base2levelF": "base2level"}
# The module openmic2008 of hear21passt asks for an arch that its own `get_model` does not know.
REFERENCE_ARCHS = {"openmic2008": "openmic"}


@dataclass(frozen=True)
class Pair:
    """One HEAR module, of ours and of the reference, with models of the same weights."""

    name: str
    ours: ModuleType
    theirs: ModuleType
    model: PasstWrapper
    reference: nn.Module
    quietly: Callable[..., Any]

    def embed_scenes(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        expected = self.quietly(self.theirs.get_scene_embeddings, audio, self.reference)
        return self.ours.get_scene_embeddings(audio, self.model), expected

    def embed_timestamps(
        self, audio: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        expected = self.quietly(self.theirs.get_timestamp_embeddings, audio, self.reference)
        return self.ours.get_timestamp_embeddings(audio, self.model), expected


@pytest.fixture(scope="session")
def build_pair(reference_net, quietly) -> Callable[..., Pair]:
    """A function that loads a HEAR module of ours and of the reference by their `load_model`.

    Models have one block by default: windows, padding and averaging do not depend on the depth,
    and one block costs a twelfth.
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
            """Check the arguments and return our weights; the reference would download its own."""
            requested = arch_spec(REFERENCE_ARCHS.get(arch, arch))
            assert (requested.name, n_classes, input_tdim) == (
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
def build_sounds(noise) -> Callable[..., Tensor]:
    """A function that builds a batch of different sounds, (n_sounds, n_samples)."""

    def build(n_samples: int, n_sounds: int = 2) -> Tensor:
        rows = [noise(n_samples, seed) for seed in range(n_sounds)]
        return torch.from_numpy(np.stack(rows))

    return build


@pytest.fixture
def publish(tmp_path, monkeypatch) -> Iterator[Callable[[str], Path]]:
    """A function that writes random weights of an arch into the cache as its checkpoint."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))

    def put(arch: str) -> Path:
        path = cached_path(arch_spec(arch))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(random_state_dict(arch_spec(arch), SEED), path)
        return path

    yield put
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # 345 MB per checkpoint
