"""Tests of reduced precisions: outputs are close to fp32, and always float32."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from models.errors import ModelError
from models.inference.embedder import Embedder
from models.passt.linear import Linear, LinearGelu, PackedLinear, can_pack
from models.passt.precision import PRECISIONS, Int8Linear, check_precision, convert
from models.passt.transformer import PaSST

REDUCED = ("bf16", "fp16", "int8")


@pytest.fixture(scope="module")
def windows(noise):
    return [noise(n_samples, n_samples) for n_samples in (16_000, 64_000, 30_000)]


@pytest.fixture(scope="module")
def exact(spec, state_dict, windows):
    return Embedder(spec, state_dict).embed(windows)


# All twelve blocks on random weights: this finds mistakes, but says little of trained weights.
@pytest.mark.parametrize("precision", REDUCED)
def test_outputs_are_float32_and_close_to_fp32(precision, spec, state_dict, windows, exact):
    outputs = Embedder(spec, state_dict, precision=precision).embed(windows)
    for ours, expected in zip(outputs, exact, strict=True):
        assert ours.shape == expected.shape
        assert ours.dtype == np.float32
        cosine = F.cosine_similarity(torch.from_numpy(ours), torch.from_numpy(expected))
        assert cosine.min() > 0.99
        assert not np.array_equal(ours, expected)


def test_fp32_is_the_default(small_spec, small_state_dict, noise):
    window = [noise(9600)]
    one = Embedder(small_spec, small_state_dict).embed(window)
    other = Embedder(small_spec, small_state_dict, precision="fp32").embed(window)
    assert np.array_equal(one.features, other.features)


@pytest.mark.parametrize("precision", [each for each in PRECISIONS if each != "tf32"])
def test_front_end_and_output_stay_fp32(precision, small_spec, small_state_dict, noise):
    embedder = Embedder(small_spec, small_state_dict, precision=precision)
    assert {each.dtype for each in embedder.mel.buffers()} == {torch.float32}
    for part in (embedder.net.norm, embedder.net.head):
        assert {each.dtype for each in part.parameters()} == {torch.float32}
    assert embedder.mel(torch.from_numpy(noise(9600))[None]).dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_blocks_patches_and_positions_are_cast(precision, dtype, small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), precision)
    cast = {key for key, value in net.named_parameters() if value.dtype == dtype}
    uncast = {key for key in small_state_dict if key.startswith(("norm.", "head"))}
    packed = {name for name, each in net.named_modules() if isinstance(each, PackedLinear)}
    in_packed = {key for key in small_state_dict if key.rpartition(".")[0] in packed}
    assert cast == small_state_dict.keys() - uncast - in_packed
    assert bool(packed) == can_pack(dtype)
    # The state dict, which other nets may share, is unchanged.
    assert {value.dtype for value in small_state_dict.values()} == {torch.float32}


def test_int8_quantizes_the_linear_layers_of_the_blocks(small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), "int8")
    names = {name for name, each in net.named_modules() if isinstance(each, Int8Linear)}
    assert names == {f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}


@pytest.mark.parametrize("kind", [nn.Linear, Linear, LinearGelu])
def test_int8_layer_is_close_to_the_linear_layer(kind):
    torch.manual_seed(0)
    linear = kind(64, 32)
    inputs = torch.randn(10, 64)
    outputs, expected = Int8Linear(linear)(inputs), linear(inputs)
    assert outputs.dtype == torch.float32
    # Each product has two factors rounded to about 1/127 of the range; 64 products are summed.
    torch.testing.assert_close(outputs, expected, atol=0.05, rtol=0)


def test_int8_layer_accepts_weights_of_zeros():
    linear = nn.Linear(8, 2)
    nn.init.zeros_(linear.weight)
    outputs = Int8Linear(linear)(torch.randn(3, 8))
    torch.testing.assert_close(outputs, linear.bias.expand(3, 2))


@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_int8_needs_a_cpu(device):
    message = rf"int8 runs on a CPU only \(got {device}\); take bf16"
    with pytest.raises(ModelError, match=message):
        check_precision("int8", torch.device(device))


def test_tf32_needs_a_gpu(small_spec, small_state_dict):
    with pytest.raises(ModelError, match=r"tf32 runs on a GPU only \(got cpu\); take fp32 or bf16"):
        Embedder(small_spec, small_state_dict, precision="tf32")
    check_precision("tf32", torch.device("cuda"))


def test_tanh_gelu_is_close_to_the_exact_gelu():
    inputs = torch.linspace(-8, 8, 100_001)
    difference = F.gelu(inputs, approximate="tanh") - F.gelu(inputs)
    assert difference.abs().max() < 5e-4


def test_unknown_precisions_are_refused(small_spec, small_state_dict):
    message = r"one of fp32, tf32, bf16, fp16, int8 \(got 'fp8'\)"
    with pytest.raises(ModelError, match=message):
        Embedder(small_spec, small_state_dict, precision="fp8")
    with pytest.raises(ModelError, match=message):
        convert(PaSST.from_state_dict(small_spec, small_state_dict), "fp8")
