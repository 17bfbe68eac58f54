"""What only a GPU shows: precisions there, packs through its variable-length attention, devices.

Runs with torch, torchaudio, numpy and pytest alone: such machines may have nothing else.
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
def on_cpu(weights, clips):
    return Embedder(SPEC, weights).embed(clips)


@pytest.fixture(scope="module")
def build(weights):
    def build(device: str, **options) -> PasstWrapper:
        # A copy: what moves takes its parameters along.
        net = PaSST.from_state_dict(SPEC, {key: value.clone() for key, value in weights.items()})
        return PasstWrapper(front_end(SPEC), net, **options).to(device)

    return build


@EVERY_PRECISION
def test_a_gpu_says_what_the_cpu_says(precision, weights, clips, on_cpu):
    outputs = Embedder(SPEC, weights, device=DEVICE, precision=precision).embed(clips)
    for ours, expected in zip(outputs, on_cpu, strict=True):
        assert ours.dtype == np.float32
        assert_close(ours, expected, precision)


@EVERY_PRECISION
@pytest.mark.parametrize("max_tokens", [None, 1500])
def test_ragged_packs_are_the_clips_alone(precision, max_tokens, weights, clips, monkeypatch):
    embedder = Embedder(SPEC, weights, DEVICE, max_tokens, precision)
    packed = []
    varlen = models.passt.attention._attend_varlen

    def counted(*args):
        packed.append(len(args[1]))
        return varlen(*args)

    monkeypatch.setattr(models.passt.attention, "_attend_varlen", counted)
    together = embedder.embed(clips)
    # Only half precision has the kernel.
    assert bool(packed) == (DEVICE == "cuda" and precision in ("fp16", "bf16"))
    assert len(packed) % SPEC.depth == 0
    packed.clear()
    for row, clip in enumerate(clips):
        alone = embedder.embed([clip])
        assert_close(together.features[row], alone.features[0], precision)
        assert_close(together.logits[row], alone.logits[0], precision)
    assert not packed


@needs_cuda
@pytest.mark.parametrize("n_queries", [0, 2])
def test_varlen_attention_is_attention_group_by_group(n_queries):
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


def test_fp32_is_fp32_whatever_torch_is_set_to(weights, clips, on_cpu):
    torch.set_float32_matmul_precision("high")
    try:
        outputs = Embedder(SPEC, weights, device=DEVICE).embed(clips)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    for ours, expected in zip(outputs, on_cpu, strict=True):
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
    timestamps, moments_ms = model.get_timestamp_embeddings(waves.to(audio_device))
    assert timestamps.device.type == moments_ms.device.type == audio_device
    assert model(waves.to(audio_device)).device.type == model_device


@CASTS
def test_hear_embeddings_are_the_cpus(precision, build, noise):
    waves = torch.stack([torch.from_numpy(noise(48_001, seed)) for seed in range(2)])
    # Longer than a window, so that scenes are averaged.
    long = torch.from_numpy(noise(12 * 32_000))[None]
    expected = build("cpu", timestamps="base2levelmel")
    model = build(DEVICE, timestamps="base2levelmel")
    convert(model.net, precision)
    for audio in (waves, long):
        assert_close(
            base2levelmel.get_scene_embeddings(audio, model),
            base2levelmel.get_scene_embeddings(audio, expected),
            precision,
        )
    timestamps, moments_ms = base2levelmel.get_timestamp_embeddings(waves, model)
    expected_timestamps, expected_ms = base2levelmel.get_timestamp_embeddings(waves, expected)
    assert_close(timestamps, expected_timestamps, precision)
    assert torch.equal(moments_ms, expected_ms)


@needs_cuda
def test_a_loaded_module_is_on_the_gpu(monkeypatch):
    monkeypatch.setitem(ARCHS, DEFAULT_ARCH, replace(SPEC, depth=1))
    model = base2levelmel.load_model("random:0")
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cuda"}


def test_parts_that_are_put_in_move_to_the_gpu(build):
    model, other = build(DEVICE), build("cpu")
    model.net, model.mel = other.net, front_end(SPEC)
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {DEVICE}


def test_autocast_is_for_the_net(build, noise):
    waves = torch.from_numpy(noise(32_000))[None].to(DEVICE)
    model = build(DEVICE)
    expected = model.get_scene_embeddings(waves)
    with torch.autocast(DEVICE, torch.bfloat16):
        assert_close(model.get_scene_embeddings(waves), expected, "bf16")


def test_training_on_a_gpu_reaches_every_parameter(build, noise):
    model = build(DEVICE).train()
    model(torch.from_numpy(noise(32_000))[None].to(DEVICE)).square().mean().backward()
    asking = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in asking)
