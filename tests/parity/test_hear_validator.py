"""HEAR's own validator (PyPI `hearvalidator`) passes on every module of `models.hear`.

It is run as its command runs, with the empty `noweights.txt` that the reference's README names, so
the weights come out of the cache of published ones. Two things are lent to it: a stand-in for
tensorflow, which it imports to tell tensorflow models apart, and PaSST's 32 kHz, which is not in
its list of sample rates.
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
    """Runs `hear-validator --model noweights.txt MODULE`."""
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


# Those with two levels at a short hop, up to 302 tokens in each of 656 windows, are in `slow`.
LARGE = {"hop100base2lvl", "hop100base2lvlmel", "hop160base2lvl", "hop160base2lvlmel"}
SHALLOW = HEAR_MODULES.keys() - LARGE


@pytest.mark.parametrize("name", sorted(SHALLOW))
def test_a_module_of_one_block_passes(name, validate, publish, monkeypatch):
    spec = arch_spec(HEAR_MODULES[name].arch)
    monkeypatch.setitem(ARCHS, spec.name, replace(spec, depth=1))
    publish(spec.name)
    validate(name)


# 16 sounds of 41 moments, each of up to 302 tokens, through 12 blocks: minutes in all.
@pytest.mark.slow
@pytest.mark.parametrize("name", HEAR_MODULES)
def test_a_whole_module_passes(name, validate, publish):
    publish(HEAR_MODULES[name].arch)
    validate(name)


def test_what_does_not_keep_to_the_api_is_told(validate, publish, monkeypatch):
    """The validator looks at what comes out."""
    from models.hear import openmic2008

    spec = arch_spec("openmic2008")
    monkeypatch.setitem(ARCHS, spec.name, replace(spec, depth=1))
    publish(spec.name)
    monkeypatch.setattr(openmic2008, "get_scene_embeddings", lambda *_: torch.zeros(8, 787))
    with pytest.raises(BaseException, match="Output embedding size is 787"):
        validate("openmic2008")
