"""Tests that HEAR's own validator (PyPI `hearvalidator`) accepts every module of `models.hear`.

The tests call the validator's command with the empty `noweights.txt` of the reference's README, so
a module loads the weights from the cache of published checkpoints. The fixture adds two things: a
stand-in for tensorflow, which the validator imports to recognize tensorflow models, and PaSST's
sample rate of 32 kHz, which is missing from the validator's list.
"""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from models.archs import ARCHS, arch_spec
from models.hear.registry import HEAR_MODULES


@pytest.fixture
def validate(tmp_path, monkeypatch, capsys):
    """A function that runs `hear-validator --model noweights.txt MODULE`."""
    tensorflow = ModuleType("tensorflow")
    tensorflow.Module = type("Module", (), {})
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    from hearvalidator import validate as validator

    rates = validator.ValidateModel.ACCEPTABLE_SAMPLE_RATE
    assert rates == [16_000, 22_050, 44_100, 48_000]
    monkeypatch.setattr(validator.ValidateModel, "ACCEPTABLE_SAMPLE_RATE", [*rates, 32_000])
    noweights = tmp_path / "noweights.txt"
    noweights.touch()

    def run(name: str) -> None:
        argv = ["hear-validator", "--model", str(noweights), f"models.hear.{name}"]
        monkeypatch.setattr(sys, "argv", argv)
        validator.main()
        printed = capsys.readouterr().out
        assert "Interval between timestamps is 50.0ms" in printed
        assert printed.endswith("Looks good!\n")

    return run


# Two levels at a short STFT hop take up to 302 tokens in each of 656 windows: slow tests only.
LARGE = {"hop100base2lvl", "hop100base2lvlmel", "hop160base2lvl", "hop160base2lvlmel"}
SMALL = HEAR_MODULES.keys() - LARGE


@pytest.mark.parametrize("name", sorted(SMALL))
def test_modules_of_one_block_pass(name, validate, publish, monkeypatch):
    spec = arch_spec(HEAR_MODULES[name].arch)
    monkeypatch.setitem(ARCHS, spec.name, replace(spec, depth=1))
    publish(spec.name)
    validate(name)


# 16 sounds of 41 timestamps with up to 302 tokens each take minutes with 12 blocks.
@pytest.mark.slow
@pytest.mark.parametrize("name", HEAR_MODULES)
def test_modules_of_full_depth_pass(name, validate, publish):
    publish(HEAR_MODULES[name].arch)
    validate(name)


def test_the_validator_reports_embeddings_of_the_wrong_size(validate, publish, monkeypatch):
    """The validator does check the outputs, so passing it means something."""
    from models.hear import openmic2008

    spec = arch_spec("openmic2008")
    monkeypatch.setitem(ARCHS, spec.name, replace(spec, depth=1))
    publish(spec.name)
    monkeypatch.setattr(openmic2008, "get_scene_embeddings", lambda *_: torch.zeros(8, 787))
    with pytest.raises(BaseException, match="Output embedding size is 787"):
        validate("openmic2008")
