"""Tests of the functions of the HEAR modules; `tests/parity` compares their embeddings."""

import importlib
import pkgutil
from dataclasses import replace

import pytest
import torch

import models.hear
from models.archs import ARCHS
from models.checkpoints.state_dict import random_state_dict
from models.errors import ModelError, WeightsError, WindowError
from models.hear import base, base2level
from models.hear.registry import HEAR_MODULES

HELPER_MODULES = {"factory", "module", "net_with_front_end", "registry", "wrapper"}


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    """Archs with one block; the depth does not matter here."""
    for name, spec in ARCHS.items():
        monkeypatch.setitem(ARCHS, name, replace(spec, depth=1))


@pytest.fixture
def requested_weights(monkeypatch):
    """The `weights` arguments of all loads, which return random weights instead."""
    requested = []

    def load(weights, spec):
        requested.append(weights)
        return type("Weights", (), {"state_dict": random_state_dict(spec, 0)})

    monkeypatch.setattr("models.hear.factory.load_weights", load)
    return requested


def test_every_hear_module_is_registered():
    found = {each.name for each in pkgutil.iter_modules(models.hear.__path__)}
    assert found - HELPER_MODULES == HEAR_MODULES.keys()


@pytest.mark.parametrize("name", HEAR_MODULES)
def test_every_hear_module_has_the_settings_of_its_name(name):
    module = importlib.import_module(f"models.hear.{name}")
    for function in ("load_model", "get_basic_model", "get_scene_embeddings"):
        assert getattr(module, function).__self__.spec is HEAR_MODULES[name]
    assert module.get_timestamp_embeddings.__self__.spec.name == name
    assert HEAR_MODULES[name].arch in ARCHS


@pytest.mark.parametrize("path", ["nothing", "empty string", "empty file"])
def test_without_a_model_file_the_published_weights_are_loaded(path, requested_weights, tmp_path):
    (tmp_path / "noweights.txt").touch()
    arguments = {"nothing": [], "empty string": [""], "empty file": [f"{tmp_path}/noweights.txt"]}
    base.load_model(*arguments[path])
    assert requested_weights == ["auto"]


def test_a_model_file_is_loaded(tmp_path):
    state_dict = random_state_dict(ARCHS[HEAR_MODULES["base"].arch], 3)
    torch.save(state_dict, tmp_path / "weights.pt")
    model = base.load_model(str(tmp_path / "weights.pt"))
    assert torch.equal(model.net.state_dict()["cls_token"].cpu(), state_dict["cls_token"])


def test_a_missing_model_file_raises_an_error_with_its_name(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pt': no such file"):
        base.load_model(str(tmp_path / "absent.pt"))


def test_load_model_returns_a_model_in_evaluation_mode(requested_weights):
    assert not any(module.training for module in base.load_model().modules())


def test_options_reach_the_wrapper(requested_weights):
    model = base.load_model(mode="logits", scene_hop=5000)
    assert (model.mode, model.scene_hop) == ("logits", 160_000)
    with pytest.raises(ModelError, match="mode must be one of"):
        base.load_model(mode="both")


def test_get_basic_model_takes_another_arch(requested_weights):
    model = base.get_basic_model(mode="logits", arch="fsd50k-n")
    assert model.net.spec.name == "fsd50k-n"
    assert base.get_basic_model().net.spec.name == HEAR_MODULES["base"].arch


def test_another_sample_rate_is_refused(requested_weights):
    model, waves = base.load_model(), torch.zeros(1, 9600)
    with pytest.raises(WindowError, match="got 48000"):
        base.get_scene_embeddings(waves, model, 48_000)
    with pytest.raises(WindowError, match="got 48000"):
        base.get_timestamp_embeddings(waves, model, 48_000)


def test_scenes_of_a_list_equal_scenes_of_single_clips(requested_weights, noise):
    model = base.load_model()
    clips = [torch.from_numpy(noise(n_samples)) for n_samples in (9600, 5000, 20_001)]
    together = base.get_scene_embeddings(clips, model)
    for row, clip in enumerate(clips):
        alone = base.get_scene_embeddings(clip[None], model)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_timestamp_levels_are_those_of_the_called_module(requested_weights, noise):
    waves = torch.from_numpy(noise(32_000))[None]
    embeddings, _ = base2level.get_timestamp_embeddings(waves, base.load_model())
    assert embeddings.shape == (1, 21, 2 * 1295)
    embeddings, _ = base.get_timestamp_embeddings(waves, base2level.load_model())
    assert embeddings.shape == (1, 21, 1295)
