"""Tests of the transformer, compared with hear21passt's on the same weights and spectrograms."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.errors import WindowError
from models.passt.attention import Group, Sequences
from models.passt.blocks import BLOCK_NORM_EPS, Block

N_FRAMES = {"one patch": 16, "last frames unused": 47, "one second": 100}


def random_spectrogram(n_frames: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n_frames)
    return torch.randn(batch, 128, n_frames, generator=generator)


def assert_parity(ours, theirs, quietly, n_frames):
    inputs = random_spectrogram(n_frames)
    logits, features = quietly(theirs, inputs[:, None])
    our_logits, our_features = ours(inputs)
    assert our_logits.shape == (2, ours.spec.n_classes)
    assert our_features.shape == (2, 768)
    torch.testing.assert_close(our_logits, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(our_features, features, atol=1e-4, rtol=0)
    # With tiny weights all features would be alike, and the comparison would prove nothing.
    assert (features[0] - features[1]).abs().max() > 0.1


@pytest.mark.parametrize("n_frames", N_FRAMES.values(), ids=N_FRAMES)
def test_stride_16_equals_the_reference(
    n_frames, spec, state_dict, build_net, reference_net, quietly
):
    ours, theirs = build_net(spec, state_dict), reference_net(spec, state_dict)
    assert_parity(ours, theirs, quietly, n_frames)


def test_default_arch_equals_the_reference(build_net, reference_net, quietly):
    spec = ARCHS[DEFAULT_ARCH]
    state_dict = random_state_dict(spec, 1)
    ours, theirs = build_net(spec, state_dict), reference_net(spec, state_dict)
    for n_frames in N_FRAMES.values():
        assert_parity(ours, theirs, quietly, n_frames)


def test_block_equals_timms_block(state_dict):
    vision_transformer = pytest.importorskip("timm.models.vision_transformer")
    theirs = vision_transformer.Block(
        768, 12, qkv_bias=True, norm_layer=partial(torch.nn.LayerNorm, eps=BLOCK_NORM_EPS)
    ).eval()
    ours = Block(768, 12).eval()
    prefix = "blocks.0."
    weights = {key.removeprefix(prefix): state_dict[key] for key in state_dict if prefix in key}
    for block in (ours, theirs):
        block.load_state_dict(weights)
    tokens = torch.randn(3, 50, 768, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(tokens)
        found = ours(tokens.flatten(0, 1), Sequences((Group(3, 50),)))
    torch.testing.assert_close(found.view_as(tokens), expected, atol=1e-4, rtol=0)


def test_all_time_positions_can_be_used(small_spec, small_state_dict, build_net):
    # 62 positions x stride 16, and 15 frames that are not enough for another patch
    tokens = build_net(small_spec, small_state_dict).tokens(
        random_spectrogram(62 * 16 + 15, batch=1)
    )
    assert tokens.shape == (1, 62 * 8 + 2, 768)


@pytest.mark.parametrize("name", [DEFAULT_ARCH, "passt_s_p16_s14_128_ap469", "stfthop100"])
@pytest.mark.parametrize("seconds", [0.15, 1.0, 10.0])
def test_number_of_tokens_matches_the_spec(name, seconds, build_net):
    spec = replace(ARCHS[name], depth=1)
    n_samples = int(seconds * 32_000) + 1
    inputs = torch.empty(3, 128, spec.n_frames(n_samples), device="meta")
    assert build_net(spec).tokens(inputs).shape == (3, spec.n_tokens(n_samples), 768)


def test_patches_follow_two_special_tokens_row_by_row(small_spec, small_state_dict, build_net):
    """The outputs do not show the order: attention does not depend on it."""
    net = build_net(small_spec, small_state_dict)
    inputs = random_spectrogram(48, batch=1)
    tokens = net.tokens(inputs)[0]
    # The patch in row 5, column 2 of 8 x 3 patches of 16 x 16
    patch = inputs[..., 80:96, 32:48].flatten()
    weights, bias = net.patch_embed.proj.weight.flatten(1), net.patch_embed.proj.bias
    positions = net.freq_new_pos_embed[0, :, 5, 0] + net.time_new_pos_embed[0, :, 0, 2]
    expected = weights @ patch + bias + positions
    torch.testing.assert_close(tokens[2 + 5 * 3 + 2], expected, atol=1e-4, rtol=0)
    for row, token in enumerate((net.cls_token, net.dist_token)):
        assert torch.equal(tokens[row], token[0, 0] + net.new_pos_embed[0, row])


def test_the_order_of_the_frames_matters(spec, state_dict, build_net):
    net = build_net(spec, state_dict)
    inputs = random_spectrogram(64, batch=1)
    # Whole patches are swapped, so only the position embeddings make a difference.
    swapped = torch.cat((inputs[..., 32:], inputs[..., :32]), dim=-1)
    assert (net(inputs)[1] - net(swapped)[1]).abs().max() > 0.1


def test_too_many_time_patches_are_refused(small_spec, build_net):
    inputs = torch.empty(1, 128, 62 * 16 + 16, device="meta")
    # 62 positions x stride 16 + 15 frames, of 320 samples each
    numbers = r"1008 frames has 63 time patches, .* positions for 62 \(at most 322240 samples\)"
    with pytest.raises(WindowError, match=numbers):
        build_net(small_spec)(inputs)


def test_too_few_frames_for_a_patch_are_refused(small_spec, build_net):
    inputs = torch.empty(1, 128, 15, device="meta")
    numbers = r"15 frames is too short .* 16 frames \(4801 samples\)"
    with pytest.raises(WindowError, match=numbers):
        build_net(small_spec)(inputs)
