"""Tests that the reference README's Python runs on this package after changing its imports.

`reference_readme.md` contains the code blocks. The models have full depth, and the cache holds
random weights as their published checkpoints. `test_hear_validator` covers the shell commands.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.errors import FrontEndError

README = (Path(__file__).parent / "reference_readme.md").read_text()
BLOCKS = [part.split("```")[0] for part in README.split("```python\n")[1:]]
HEAR, LOGITS, KNOWLEDGE_DISTILLED, LONGER, OTHER_NETS, OTHER_FRONT_ENDS = BLOCKS
# The README does not define these waveforms.
WAVES = {"wave_signal": torch.rand(2, 16_000) - 0.5, "some_wave_signal": torch.rand(2, 8000) - 0.5}


@pytest.fixture(autouse=True)
def cuda_without_gpu(monkeypatch):
    """A `.cuda()` that does nothing without a GPU, because the README calls it."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(nn.Module, "cuda", lambda self: self)


def run_block(block: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Execute a code block and return the names that it defines."""
    names = WAVES | (names or {})
    exec(compile(block, "README", "exec"), names)
    return names


def run_statements(block: str, names: dict[str, Any]) -> Iterator[str]:
    """Execute a block statement by statement, and yield each assignment after it has run."""
    for node in ast.parse(block).body:
        exec(compile(ast.Module([node], []), "README", "exec"), names)
        if isinstance(node, ast.Assign):
            yield f"{ast.unparse(node.targets[0])} = {ast.unparse(node.value)}"


def assert_logits(logits: torch.Tensor, n_classes: int = 527) -> None:
    assert logits.shape == (2, n_classes)
    assert torch.isfinite(logits).all()
    assert (logits[0] - logits[1]).abs().max() > 0.01


# 3 x 301 windows of 160 ms and 3 x 7 windows of 10 s
@pytest.mark.slow
def test_embeddings_have_the_shapes_of_the_reference(publish, capsys):
    publish("passt_s_swa_p16_128_ap476")
    names = run_block(HEAR)
    # 15 s have a timestamp every 50 ms and one at the end.
    assert capsys.readouterr().out == "torch.Size([3, 301, 1295])\ntorch.Size([3, 1295])\n"
    assert names["time_stamps"].shape == (3, 301)


def test_shorter_embeddings_have_the_shapes_of_the_reference(publish, capsys):
    """The same block runs on 1 s instead of 15 s."""
    publish("passt_s_swa_p16_128_ap476")
    block = HEAR.replace("seconds = 15", "seconds = 1")
    assert block != HEAR
    run_block(block)
    # 32000 // 1600 + 1 = 21
    assert capsys.readouterr().out == "torch.Size([3, 21, 1295])\ntorch.Size([3, 1295])\n"


def test_logits_of_the_default_arch(publish):
    publish("passt_s_swa_p16_128_ap476")
    assert_logits(run_block(LOGITS)["logits"])


def test_logits_of_another_arch(publish):
    publish("passt_s_kd_p16_128_ap486")
    assert_logits(run_block(KNOWLEDGE_DISTILLED)["logits"])


@pytest.mark.parametrize(
    ("seconds", "dropped"),
    [(20, "base30sec"), pytest.param(30, "base20sec", marks=pytest.mark.slow)],
)
def test_longer_clips(publish, seconds, dropped):
    """The block imports two modules, where the README means one or the other."""
    lines = LONGER.splitlines(keepends=True)
    block = "".join(line for line in lines if dropped not in line)
    assert len(block.splitlines()) == len(lines) - 1
    publish(f"passt_{seconds}sec")
    names = run_block(block, {"wave_signal": torch.rand(1, seconds * 32_000) - 0.5})
    assert names["logits"].shape == (1, 527)


@pytest.mark.slow
def test_other_nets_and_front_ends(publish):
    """The last two blocks form one program; the model is called after every assignment to it."""
    archs = ["passt_s_swa_p16_128_ap476", "openmic", "fsd50k", "fsd50k-n", "passt_20sec"]
    for arch in [*archs, "passt_30sec", "stfthop160", "stfthop100"]:
        publish(arch)
    names = dict(WAVES)
    model_assignments = []
    for statement in run_statements(OTHER_NETS + OTHER_FRONT_ENDS, names):
        if statement.startswith(("model =", "model.")):
            model_assignments.append(statement)
        model = names["model"]
        if "model.net" in statement and "stfthop" in statement:
            # The front end does not match yet; the reference returns bad embeddings silently.
            with pytest.raises(FrontEndError, match=r"hopsize=(320|160) instead of (160|100)"):
                model(WAVES["wave_signal"])
            continue
        n_classes = 20 if "openmic" in statement else 200 if "fsd50k" in statement else 527
        assert_logits(model(WAVES["wave_signal"]), n_classes)
    assert_logits(names["logits"])
    # One model, seven other nets, two front ends.
    assert len(model_assignments) == 1 + 7 + 2
