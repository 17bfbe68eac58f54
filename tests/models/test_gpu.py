"""What only a GPU shows: precisions there, packs through its variable-length attention, devices.

Runs with torch, torchaudio, timm, numpy and pytest alone: such machines may have nothing else.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import models.attention
from models.archs import ARCHS, DEFAULT_ARCH
from models.embedder import Embedder
from models.errors import ModelError
from models.factory import front_end
from models.hear import base2levelmel
from models.passt import PaSST
from models.precision import convert
from models.weights import random_state_dict
from models.wrapper import PasstWrapper

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
SPEC = ARCHS[DEFAULT_ARCH]
# 0.16 to 10 s: one patch, the same count twice, a whole window
RAGGED = (5120, 96_000, 20_001, 95_999, 320_000, 20_000, 171_717)
# Largest error, of values that spread over about one.
TOLERANCE = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.1}
EVERY_PRECISION = pytest.mark.parametrize("precision", TOLERANCE)


@pytest.fixture(autouse=True)
def whole_fp32(monkeypatch):
    """The patch embedding is TF32 in cuDNN unless told otherwise, 1e-3 off the CPU's fp32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


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


def assert_close(ours, expected, precision):
    ours, expected = (torch.as_tensor(each).cpu() for each in (ours, expected))
    assert ours.dtype == torch.float32
    assert torch.isfinite(ours).all()
    assert (ours - expected).abs().max() < TOLERANCE[precision] * max(1.0, expected.std().item())
    assert F.cosine_similarity(ours, expected, dim=-1).min() > 0.99


@EVERY_PRECISION
def test_a_gpu_says_what_the_cpu_says(precision, weights, clips, on_cpu):
    outputs = Embedder(SPEC, weights, device="cuda", precision=precision).embed(clips)
    for ours, expected in zip(outputs, on_cpu, strict=True):
        assert ours.dtype == np.float32
        assert_close(ours, expected, precision)


@EVERY_PRECISION
@pytest.mark.parametrize("max_tokens", [None, 1500])
def test_ragged_packs_are_the_clips_alone(precision, max_tokens, weights, clips, monkeypatch):
    embedder = Embedder(SPEC, weights, "cuda", max_tokens, precision)
    packed = []
    varlen = models.attention._attend_varlen

    def counted(*args):
        packed.append(len(args[1]))
        return varlen(*args)

    monkeypatch.setattr(models.attention, "_attend_varlen", counted)
    together = embedder.embed(clips)
    # Only half precision has the kernel; the last block asks for two tokens and goes without.
    assert bool(packed) == (precision != "fp32")
    assert len(packed) % (SPEC.depth - 1) == 0
    packed.clear()
    for row, clip in enumerate(clips):
        alone = embedder.embed([clip])
        assert_close(together.features[row], alone.features[0], precision)
        assert_close(together.logits[row], alone.logits[0], precision)
    assert not packed


def test_varlen_attention_is_attention_group_by_group():
    groups = [models.attention.Group(*shape) for shape in ((2, 50), (1, 14), (3, 7))]
    n_tokens = sum(group.n_sequences * group.n_tokens for group in groups)
    qkv = torch.randn(n_tokens, 3 * 768, device="cuda", dtype=torch.bfloat16)
    packed = models.attention._attend_varlen(qkv, groups, 12)
    alone = [
        models.attention.attend(part, [group], 12, 0)
        for part, group in models.attention.split_groups(qkv, groups)
    ]
    torch.testing.assert_close(packed, torch.cat(alone), atol=0.02, rtol=0.02)


def test_tf32_in_the_patch_embedding_costs_little(weights, clips, on_cpu, monkeypatch):
    """As it is by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    outputs = Embedder(SPEC, weights, device="cuda").embed(clips)
    for ours, expected in zip(outputs, on_cpu, strict=True):
        assert_close(ours, expected, "fp16")


def test_int8_is_refused(weights):
    with pytest.raises(ModelError, match=r"int8 runs on a CPU only \(got cuda\)"):
        Embedder(SPEC, weights, device="cuda", precision="int8")


@pytest.mark.parametrize("audio_device", ["cpu", "cuda"])
@pytest.mark.parametrize("model_device", ["cpu", "cuda"])
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


@EVERY_PRECISION
def test_hear_embeddings_are_the_cpus(precision, build, noise):
    waves = torch.stack([torch.from_numpy(noise(48_001, seed)) for seed in range(2)])
    # Longer than a window, so that scenes are averaged.
    long = torch.from_numpy(noise(12 * 32_000))[None]
    expected = build("cpu", timestamps="base2levelmel")
    model = build("cuda", timestamps="base2levelmel")
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


def test_a_loaded_module_is_on_the_gpu(monkeypatch):
    monkeypatch.setitem(ARCHS, DEFAULT_ARCH, replace(SPEC, depth=1))
    model = base2levelmel.load_model("random:0")
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cuda"}


def test_parts_that_are_put_in_move_to_the_gpu(build):
    model, other = build("cuda"), build("cpu")
    model.net, model.mel = other.net, front_end(SPEC)
    assert {each.device.type for each in (*model.parameters(), *model.buffers())} == {"cuda"}


def test_autocast_is_for_the_net(build, noise):
    waves = torch.from_numpy(noise(32_000))[None].cuda()
    model = build("cuda")
    expected = model.get_scene_embeddings(waves)
    with torch.autocast("cuda", torch.bfloat16):
        assert_close(model.get_scene_embeddings(waves), expected, "bf16")


def test_training_on_a_gpu_reaches_every_parameter(build, noise):
    model = build("cuda").train()
    model(torch.from_numpy(noise(32_000))[None].cuda()).square().mean().backward()
    asking = [each for each in model.parameters() if each.requires_grad]
    assert all(each.grad is not None and torch.isfinite(each.grad).all() for each in asking)


def test_packs_that_are_copied_while_others_are_computed_are_right(weights, noise):
    windows = [noise(160_000 + 320 * seed, seed) for seed in range(48)]
    embedder = Embedder(SPEC, weights, "cuda", max_tokens=1190)
    one_by_one = [embedder.embed([window]).features[0] for window in windows]
    for _ in range(3):
        np.testing.assert_allclose(embedder.embed(windows).features, one_by_one, rtol=0, atol=1e-4)
