"""Tests of the archs: sizes, costs and names, and the state dicts of hear21passt."""

import re
from dataclasses import replace
from importlib import resources

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.archs import (
    ALIASES,
    ARCHS,
    DEFAULT_ARCH,
    RELEASES_URL,
    SAMPLE_RATE_HZ,
    arch_spec,
)
from models.checkpoints.state_dict import expected_shapes
from models.errors import UnknownArchError
from models.hear.registry import HEAR_MODULES

SPECS = st.sampled_from(list(ARCHS.values()))


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        # 128 mel bands and input_tdim frames, each // stride
        ("passt_s_swa_p16_128_ap476", (12, 99)),
        ("passt_s_swa_p16_s12_128_ap473", (10, 83)),
        ("passt_s_swa_p16_s14_128_ap471", (9, 71)),
        ("passt_s_swa_p16_s16_128_ap473", (8, 62)),
        ("passt_20sec", (12, 200)),
        ("passt_30sec", (12, 300)),
        ("stfthop160", (12, 200)),
        ("stfthop100", (12, 320)),
    ],
)
def test_grid_is_bands_and_frames_divided_by_stride(name, grid):
    assert ARCHS[name].grid == grid


@pytest.mark.parametrize(
    ("name", "n_samples"),
    # 16 frames: the first at sample 0, the others 15 hops after it
    [("passt_s_swa_p16_128_ap476", 4801), ("stfthop160", 2401), ("stfthop100", 1501)],
)
def test_min_samples_give_the_frames_of_one_patch(name, n_samples):
    assert ARCHS[name].min_samples == n_samples
    assert ARCHS[name].n_frames(n_samples) == 16


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(1, 1), (320, 1), (321, 2), (640, 2), (641, 3), (320_000, 1000)]
)
def test_every_hop_adds_a_frame(n_samples, n_frames):
    assert arch_spec(DEFAULT_ARCH).n_frames(n_samples) == n_frames


@pytest.mark.parametrize(
    ("name", "n_tokens"),
    [
        # 10 s are 1000 frames: 12 rows x 99 patches + 2, and 8 rows x 62 patches + 2
        ("passt_s_swa_p16_128_ap476", 1190),
        ("passt_s_p16_s16_128_ap468", 498),
    ],
)
def test_tokens_of_a_ten_second_window(name, n_tokens):
    assert ARCHS[name].n_tokens(10 * SAMPLE_RATE_HZ) == n_tokens


@pytest.mark.parametrize(
    ("name", "seconds", "gflop"),
    [
        # 12 x (24 x 1190 x 768^2 + 4 x 1190^2 x 768) = 254.3 G, and 0.5 G of patches
        ("passt_s_swa_p16_128_ap476", 10, 254.8),
        # 7 blocks instead of 12
        ("passt_l_kd_p16_128_ap47", 10, 148.8),
        # 498 tokens
        ("passt_s_p16_s16_128_ap468", 10, 93.9),
    ],
)
def test_flops_of_a_window(name, seconds, gflop):
    assert ARCHS[name].flops(seconds * SAMPLE_RATE_HZ) / 1e9 == pytest.approx(gflop, abs=0.05)


def test_flops_agree_with_the_count_of_torch(build_net, spec):
    net = build_net(spec)
    n_samples = 5 * SAMPLE_RATE_HZ
    counter = FlopCounterMode(display=False)
    with counter:
        net(torch.empty(1, 128, spec.n_frames(n_samples), device="meta"))
    head = 2 * 768 * spec.n_classes
    assert counter.get_total_flops() - head == spec.flops(n_samples)


@pytest.mark.parametrize("spec", ARCHS.values(), ids=ARCHS)
def test_n_parameters_equals_the_size_of_the_state_dict(spec):
    assert spec.n_parameters == sum(shape.numel() for shape in expected_shapes(spec).values())


@given(SPECS)
def test_fewer_than_min_samples_give_no_patch(spec):
    assert spec.n_time_patches(spec.min_samples) == 1
    assert spec.n_time_patches(spec.min_samples - 1) == 0


@given(SPECS)
def test_max_samples_use_all_time_positions(spec):
    assert spec.n_time_patches(spec.max_samples) == spec.grid[1]
    assert spec.n_time_patches(spec.max_samples + 1) == spec.grid[1] + 1


@given(SPECS)
def test_the_longest_window_fits_the_time_positions(spec):
    assert spec.max_window_s * SAMPLE_RATE_HZ <= spec.max_samples


@given(SPECS, st.integers(1, 40 * SAMPLE_RATE_HZ))
def test_time_patches_are_the_patch_starts_that_fit(spec, n_samples):
    n_frames = spec.n_frames(n_samples)
    patch_starts = range(0, max(0, n_frames - 16 + 1), spec.stride)
    assert spec.n_time_patches(n_samples) == len(patch_starts)


def test_names_and_checkpoints_are_distinct():
    # hear21passt publishes 20 checkpoints.
    assert len(ARCHS) == len({spec.checkpoint for spec in ARCHS.values()}) == 20
    assert all(name == spec.name for name, spec in ARCHS.items())


def test_url_starts_with_the_releases_url():
    spec = arch_spec(DEFAULT_ARCH)
    assert spec.url == RELEASES_URL + "v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt"


def test_unknown_arch_error_lists_the_archs():
    with pytest.raises(UnknownArchError, match=r"unknown arch 'passt_xl'") as error:
        arch_spec("passt_xl")
    assert all(name in str(error.value) for name in ARCHS)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_returns_its_arch(alias):
    assert arch_spec(alias) is ARCHS[ALIASES[alias]]
    assert alias not in ARCHS


@pytest.mark.parametrize("module", HEAR_MODULES)
def test_hear_modules_load_the_arch_of_the_reference(module):
    """The reference's module of the same name is parsed as text, without importing it."""
    source = resources.files("hear21passt").joinpath(f"{module.removesuffix('F')}.py").read_text()
    reference_arch = re.search(r'get_model_passt\(arch=(?:kwargs.get\("arch", )?"(\w+)"', source)[1]
    assert arch_spec(reference_arch) is ARCHS[HEAR_MODULES[module].arch]


@pytest.mark.parametrize("name", [*ARCHS, *ALIASES])
def test_state_dict_has_the_shapes_of_the_reference(name, reference_net):
    net = reference_net(replace(arch_spec(name), name=name))
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    assert expected_shapes(arch_spec(name)) == shapes
