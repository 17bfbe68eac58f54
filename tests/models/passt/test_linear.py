"""Tests of linear layers in oneDNN's layout, compared with the layers that they replace."""

import copy
import pickle

import pytest
import torch
from torch import nn

from models.checkpoints.state_dict import random_state_dict
from models.errors import ModelError
from models.hear.factory import front_end
from models.hear.wrapper import PasstWrapper
from models.inference.embedder import Embedder
from models.inference.engine import Engine
from models.passt.linear import Linear, LinearGelu, PackedLinear, can_pack
from models.passt.precision import convert
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="torch without oneDNN")
needs_bf16 = pytest.mark.skipif(not can_pack(torch.bfloat16), reason="a CPU without bf16")


@pytest.mark.parametrize("kind", [Linear, LinearGelu])
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bf16)])
@pytest.mark.parametrize("n_tokens", [1, 14, 63, 600, 1190])
def test_packed_layer_equals_the_layer(kind, dtype, n_tokens):
    torch.manual_seed(n_tokens)
    layer = kind(768, 768).to(dtype)
    inputs = torch.randn(n_tokens, 768).to(dtype)
    packed = PackedLinear(layer)
    with torch.no_grad():
        # Close but not equal: oneDNN may use different kernels for the two.
        torch.testing.assert_close(packed(inputs), layer(inputs))
        expected = nn.Linear.forward(layer, inputs)
        expected = nn.functional.gelu(expected) if kind is LinearGelu else expected
        atol = 1e-5 if dtype == torch.float32 else 1e-3  # GELU after one rounding in place of two
        torch.testing.assert_close(packed(inputs), expected, atol=atol, rtol=1.6e-2)


def test_packed_model_equals_the_unpacked_model(small_spec, small_state_dict, noise):
    windows = [noise(n) for n in (9600, 16_000, 9600, 48_000)]
    embedder = Embedder(small_spec, small_state_dict)
    assert any(isinstance(each, PackedLinear) for each in embedder.net.modules())
    net = PaSST.from_state_dict(small_spec, small_state_dict)
    engine = Engine(net, AugmentMelSTFT(hopsize=small_spec.hop_samples), 1190)
    with torch.no_grad():
        logits, features = engine([torch.from_numpy(window) for window in windows])
    outputs = embedder.embed(windows)
    torch.testing.assert_close(torch.from_numpy(outputs.features), features)
    torch.testing.assert_close(torch.from_numpy(outputs.logits), logits)


def test_wrapper_with_a_converted_net_returns_the_same(small_spec, small_state_dict, noise):
    net = PaSST.from_state_dict(small_spec, small_state_dict)
    model = PasstWrapper(front_end(small_spec), net)
    audio = torch.from_numpy(noise(40_000))[None]
    scene, (timestamps, _) = (
        model.get_scene_embeddings(audio),
        model.get_timestamp_embeddings(audio),
    )
    convert(model.net, "fp32")
    torch.testing.assert_close(model.get_scene_embeddings(audio), scene)
    torch.testing.assert_close(model.get_timestamp_embeddings(audio)[0], timestamps)
    torch.testing.assert_close(model(audio), scene)  # with gradients enabled


def test_callers_autocast_does_not_reach_packed_layers(small_spec, small_state_dict, noise):
    embedder = Embedder(small_spec, small_state_dict)
    expected = torch.from_numpy(embedder.embed([noise(16_000)]).features)
    with torch.autocast("cpu"):
        outputs = embedder.embed([noise(16_000)]).features
    cosine = nn.functional.cosine_similarity(torch.from_numpy(outputs), expected)
    assert cosine.min() > 0.999


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16), "int8"])
def test_lost_gradients_are_an_error(precision, small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), precision)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    spectrogram = torch.randn(1, 128, 60)
    net(spectrogram)  # no error, because the input requires no gradient
    with pytest.raises(ModelError, match=r"converted for inference .* train a net that was not"):
        net(spectrogram.requires_grad_())


@pytest.mark.parametrize("first", ["fp32", "int8"])
@pytest.mark.parametrize("then", ["fp32", "bf16", "int8"])
def test_a_converted_net_is_not_converted_again(first, then, small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), first)
    with pytest.raises(ModelError, match=rf"converted already; for {then} convert a new net"):
        convert(net, then)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_a_converted_net_are_complete(make_copy, small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), "fp32").eval()
    spectrogram = torch.randn(1, 128, 60)
    other = make_copy(net)
    assert not any(module.training for module in other.modules())
    torch.testing.assert_close(other(spectrogram), net(spectrogram), atol=0, rtol=0)
    assert other.blocks[0].attn.qkv._bias.data_ptr() != net.blocks[0].attn.qkv._bias.data_ptr()


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_state_dict_of_a_converted_net_is_complete(precision, small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), precision)
    saved = net.state_dict()
    assert set(saved) == set(small_state_dict)
    for key, value in saved.items():
        assert torch.equal(value, small_state_dict[key].to(value.dtype)), key
    if precision == "fp32":
        reloaded = PaSST.from_state_dict(small_spec, saved)
        spectrogram = torch.randn(1, 128, 60)
        with torch.no_grad():
            torch.testing.assert_close(reloaded(spectrogram), net(spectrogram))


@pytest.mark.parametrize("assign", [False, True])
def test_a_converted_net_loads_another_state_dict(assign, small_spec, small_state_dict):
    others = random_state_dict(small_spec, 5)
    own = copy.deepcopy(small_state_dict)  # overwritten where assign is False
    net = convert(PaSST.from_state_dict(small_spec, own), "fp32")
    net.load_state_dict(others, assign=assign)
    plain = PaSST.from_state_dict(small_spec, others)
    spectrogram = torch.randn(1, 128, 60)
    with torch.no_grad():
        torch.testing.assert_close(net(spectrogram), plain(spectrogram))
    key = "blocks.0.mlp.fc1.weight"
    with pytest.raises(RuntimeError, match=f'Missing key.* "{key}"'):
        net.load_state_dict({name: value for name, value in others.items() if name != key})
    with pytest.raises(RuntimeError, match=f"size mismatch for {key}"):
        net.load_state_dict(others | {key: others[key].T})


def test_a_converted_net_cannot_be_cast_or_moved(small_spec, small_state_dict):
    net = convert(PaSST.from_state_dict(small_spec, small_state_dict), "fp32")
    assert net.to("cpu").float() is net
    with pytest.raises(ModelError, match=r"in torch.float32 and cannot .* to cpu in torch.float16"):
        net.half()
    with pytest.raises(ModelError, match=r"to meta in torch.float32; make a new net"):
        net.to("meta")
