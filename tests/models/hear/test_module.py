"""The HEAR modules' loader and functions; their numbers are in `tests/parity`."""

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


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    """What is tested here does not depend on the depth."""
    for name, spec in ARCHS.items():
        monkeypatch.setitem(ARCHS, name, replace(spec, depth=1))


@pytest.fixture
def cached(monkeypatch):
    """Names that the loader was asked for; weights come from a seed."""
    asked = []

    def load(weights, spec):
        asked.append(weights)
        return type("Weights", (), {"state_dict": random_state_dict(spec, 0)})

    monkeypatch.setattr("models.hear.factory.load_weights", load)
    return asked


def test_every_module_is_in_the_table():
    found = {each.name for each in pkgutil.iter_modules(models.hear.__path__)}
    assert found - {"factory", "module", "registry", "wrapper"} == HEAR_MODULES.keys()


@pytest.mark.parametrize("name", HEAR_MODULES)
def test_every_module_is_its_own_line_of_the_table(name):
    module = importlib.import_module(f"models.hear.{name}")
    for function in ("load_model", "get_basic_model", "get_scene_embeddings"):
        assert getattr(module, function).__self__.spec is HEAR_MODULES[name]
    assert module.get_timestamp_embeddings.__self__.spec.name == name
    assert HEAR_MODULES[name].arch in ARCHS


@pytest.mark.parametrize("path", ["nothing", "empty string", "empty file"])
def test_no_weights_are_the_published_ones(path, cached, tmp_path):
    (tmp_path / "noweights.txt").touch()
    arguments = {"nothing": [], "empty string": [""], "empty file": [f"{tmp_path}/noweights.txt"]}
    base.load_model(*arguments[path])
    assert cached == ["auto"]


def test_a_file_is_taken(tmp_path):
    state_dict = random_state_dict(ARCHS[HEAR_MODULES["base"].arch], 3)
    torch.save(state_dict, tmp_path / "weights.pt")
    model = base.load_model(str(tmp_path / "weights.pt"))
    assert torch.equal(model.net.state_dict()["cls_token"].cpu(), state_dict["cls_token"])


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pt': no such file"):
        base.load_model(str(tmp_path / "absent.pt"))


def test_evaluation_is_what_a_loader_returns(cached):
    assert not any(module.training for module in base.load_model().modules())


def test_options_are_those_of_the_wrapper(cached):
    model = base.load_model(mode="logits", scene_hop=5000)
    assert (model.mode, model.scene_hop) == ("logits", 160_000)
    with pytest.raises(ModelError, match="mode must be one of"):
        base.load_model(mode="both")


def test_another_arch_may_be_named(cached):
    model = base.get_basic_model(mode="logits", arch="fsd50k-n")
    assert model.net.spec.name == "fsd50k-n"
    assert base.get_basic_model().net.spec.name == HEAR_MODULES["base"].arch


def test_a_rate_is_refused(cached):
    model, waves = base.load_model(), torch.zeros(1, 9600)
    with pytest.raises(WindowError, match="got 48000"):
        base.get_scene_embeddings(waves, model, 48_000)
    with pytest.raises(WindowError, match="got 48000"):
        base.get_timestamp_embeddings(waves, model, 48_000)


def test_scenes_of_a_list_are_those_alone(cached, noise):
    model = base.load_model()
    clips = [torch.from_numpy(noise(n_samples)) for n_samples in (9600, 5000, 20_001)]
    together = base.get_scene_embeddings(clips, model)
    for row, clip in enumerate(clips):
        alone = base.get_scene_embeddings(clip[None], model)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_levels_are_the_modules_whichever_loaded_the_model(cached, noise):
    waves = torch.from_numpy(noise(32_000))[None]
    timestamps, _ = base2level.get_timestamp_embeddings(waves, base.load_model())
    assert timestamps.shape == (1, 21, 2 * 1295)
    timestamps, _ = base.get_timestamp_embeddings(waves, base2level.load_model())
    assert timestamps.shape == (1, 21, 1295)
