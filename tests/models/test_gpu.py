"""GPU tests of the models: precisions, packs with variable-length attention, and devices.

They need only torch, torchaudio, numpy and pytest, because a GPU machine may have nothing else.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import models.passt.attention
from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.errors import ModelError
from models.hear import base2levelmel
from models.hear.factory import front_end
from models.hear.wrapper import PasstWrapper
from models.inference.embedder import Embedder
from models.passt.precision import convert
from models.passt.transformer import PaSST
from tests.models.on_gpu import (
    CASTS,
    DEVICE,
    EVERY_PRECISION,
    RAGGED,
    assert_close,
    needs_cuda,
    needs_device,
)

pytestmark = [
    pytest.mark.gpu,
    needs_device,
]
SPEC = ARCHS[DEFAULT_ARCH]


@pytest.fixture(scope="module")
def weights():
    return random_state_dict(SPEC, 0)


@pytest.fixture(scope="module")
def clips(noise):
    return [noise(n_samples, seed) for seed, n_samples in enumerate(RAGGED)]


@pytest.fixture(scope="module")
def cpu_outputs(weights, clips):
    return Embedder(SPEC, weights).embed(clips)


@pytest.fixture(scope="module")
def build(weights):
    def build(device: str, **options) -> PasstWrapper:
        # The weights are copied, because moving a module moves its parameters.
        net = PaSST.from_state_dict(SPEC, {key: value.clone() for key, value in weights.items()})
        return PasstWrapper(front_end(SPEC), net, **options).to(device)

    return build


@EVERY_PRECISION
def test_gpu_outputs_agree_with_the_cpu(precision, weights, clips, cpu_outputs):
    outputs = Embedder(SPEC, weights, device=DEVICE, precision=precision).embed(clips)
    for ours, expected in zip(outputs, cpu_outputs, strict=True):
        assert ours.dtype == np.float32
        assert_close(ours, expected, precision)


@EVERY_PRECISION
@pytest.mark.parametrize("max_tokens", [None, 1500])
def test_packs_of_mixed_lengths_equal_single_clips(
    precision, max_tokens, weights, clips, monkeypatch
):
    embedder = Embedder(SPEC, weights, DEVICE, max_tokens, precision)
    varlen_calls = []
    attend_varlen = models.passt.attention._attend_varlen

    def count_calls(*args):
        varlen_calls.append(len(args[1]))
        return attend_varlen(*args)

    monkeypatch.setattr(models.passt.attention, "_attend_varlen", count_calls)
    together = embedder.embed(clips)
    # The variable-length kernel exists in half precision only.
    assert bool(varlen_calls) == (DEVICE == "cuda" and precision in ("fp16", "bf16"))
    assert len(varlen_calls) % SPEC.depth == 0
    varlen_calls.clear()
    for row, clip in enumerate(clips):
        alone = embedder.embed([clip])
        assert_close(together.features[row], alone.features[0], precision)
        assert_close(together.logits[row], alone.logits[0], precision)
    assert not varlen_calls


@needs_cuda
@pytest.mark.parametrize("n_queries", [0, 2])
def test_varlen_attention_equals_attention_per_group(n_queries):
    groups = tuple(models.passt.attention.Group(*shape) for shape in ((2, 50), (1, 14), (3, 7)))
    starts = [0, 50, 100, 114, 121, 128, 135]
    sequences = models.passt.attention.Sequences(
        groups, torch.tensor(starts, dtype=torch.int32, device=DEVICE)
    )
    qkv = torch.randn(135, 3 * 768, device=DEVICE, dtype=torch.bfloat16)
    packed = models.passt.attention._attend_varlen(qkv, sequences, 12, n_queries)
    alone = [
        models.passt.attention.attend(
            part, models.passt.attention.Sequences((group,)), 12, n_queries
        )
        for part, group in models.passt.attention.split_groups(qkv, groups)
    ]
    torch.testing.assert_close(packed, torch.cat(alone), atol=0.02, rtol=0.02)


def test_fp32_ignores_the_matmul_setting_of_torch(weights, clips, cpu_outputs):
    torch.set_float32_matmul_precision("high")
    try:
        outputs = Embedder(SPEC, weights, device=DEVICE).embed(clips)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    for ours, expected in zip(outputs, cpu_outputs, strict=True):
        assert_close(ours, expected, "fp32")


@needs_cuda
def test_int8_is_refused(weights):
    with pytest.raises(ModelError, match=r"int8 runs on a CPU only \(got cuda\)"):
        Embedder(SPEC, weights, device=DEVICE, precision="int8")


@pytest.mark.parametrize("audio_device", sorted({"cpu", DEVICE}))
@pytest.mark.parametrize("model_device", sorted({"cpu", DEVICE}))
def test_audio_may_be_on_either_device(audio_device, model_device, build, noise):
    waves = torch.from_numpy(noise(32_000))[None]
    expected = build("cpu").get_scene_embeddings(waves)
    model = build(model_device)
    scenes = model.get_scene_embeddings(waves.to(audio_device))
    assert scenes.device.type == audio_device
    assert_close(scenes, expected, "fp32")
    embeddings, timestamps_ms = model.get_timestamp_embeddings(waves.to(audio_device))
    assert embeddings.device.type == timestamps_ms.device.type == audio_device
    assert model(waves.to(audio_device)).device.type == model_device


@CASTS
def test_hear_embeddings_agree_with_the_cpu(precision, build, noise):
    waves = torch.stack([torch.from_numpy(noise(48_001, seed)) for seed in range(2)])
    # This clip is longer than a window, so its scene embedding is a mean over windows.
    long_clip = torch.from_numpy(noise(12 * 32_000))[None]
    expected = build("cpu", timestamps="base2levelmel")
    model = build(DEVICE, timestamps="base2levelmel")
    convert(model.net, precision)
    for audio in (waves, long_clip):
        assert_close(
            base2levelmel.get_scene_embeddings(audio, model),
            base2levelmel.get_scene_embeddings(audio, expected),
            precision,
        )
    embeddings, timestamps_ms = base2levelmel.get_timestamp_embeddings(waves, model)
    expected_embeddings, expected_ms = base2levelmel.get_timestamp_embeddings(waves, expected)
    assert_close(embeddings, expected_embeddings, precision)
    assert torch.equal(timestamps_ms, expected_ms)


@needs_cuda
def test_load_model_puts_the_model_on_the_gpu(monkeypatch):
    monkeypatch.setitem(ARCHS, DEFAULT_ARCH, replace(SPEC, depth=1))
    model = base2levelmel.load_model("random:0")
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cuda"}


def test_replaced_parts_move_to_the_gpu(build):
    model, other = build(DEVICE), build("cpu")
    model.net, model.mel = other.net, front_end(SPEC)
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {DEVICE}


def test_autocast_applies_to_the_net(build, noise):
    waves = torch.from_numpy(noise(32_000))[None].to(DEVICE)
    model = build(DEVICE)
    expected = model.get_scene_embeddings(waves)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert_close(model.get_scene_embeddings(waves), expected, "bf16")


def test_training_on_a_gpu_reaches_every_parameter(build, noise):
    model = build(DEVICE).train()
    model(torch.from_numpy(noise(32_000))[None].to(DEVICE)).square().mean().backward()
    trainable = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in trainable)
