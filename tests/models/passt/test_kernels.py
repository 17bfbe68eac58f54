"""Tests of our Triton kernels, compared with torch's operators.

On a CPU Triton interprets the kernels (see `tests.conftest`); on a GPU it compiles them.
"""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.passt.fused import _try_kernels
from models.passt.pack_layout import FrameSlots

kernels = pytest.importorskip("models.passt.kernels")
pytestmark = pytest.mark.gpu  # these tests also run on a GPU, where the kernels are compiled
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random_tensor(*shape, dtype=torch.float32, seed=0):
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return numbers.to(DEVICE, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("has_deferred", [False, True])
def test_norm_adds_the_deferred_bias_before_the_layer_norm(dtype, has_deferred):
    rows = 3 * random_tensor(5, 768, dtype=dtype) + 1
    deferred = random_tensor(768, seed=1) if has_deferred else None
    weight, bias = random_tensor(768, dtype=dtype, seed=2), random_tensor(768, dtype=dtype, seed=3)
    found = kernels.norm(rows, deferred, weight, bias, 1e-6)
    complete = rows.float() + (deferred if has_deferred else 0)
    expected = F.layer_norm(complete, (768,), weight.float(), bias.float(), 1e-6)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found, expected.to(dtype), atol=1e-5, rtol=2e-2 if dtype != torch.float32 else 1e-5
    )


def test_frames_are_cut_from_windows_reflected_at_both_ends():
    samples, taper = random_tensor(9_000), torch.hann_window(1024, device=DEVICE)
    options = {"dtype": torch.int32, "device": DEVICE}
    slots = FrameSlots(
        windows=torch.tensor([0, 0, 1, 1], **options),
        starts=torch.tensor([-512, 448, -512, 2_240], **options),
        lengths=torch.tensor([5_000, 3_000, 0], **options),
    )
    offsets = torch.tensor([4_000, 100], **options)
    rows = kernels.cut_frames(samples, offsets, slots, taper, 0.97, 8)
    assert rows.shape == (8, 1024)
    for row, (offset, n, start) in enumerate(
        [(4_000, 5_000, -512), (4_000, 5_000, 448), (100, 3_000, -512), (100, 3_000, 2_240)]
    ):
        window = samples[offset : offset + n]
        reflected = F.pad((window[1:] - 0.97 * window[:-1])[None], (512, 512), "reflect")[0]
        expected = reflected[start + 512 : start + 1536] * taper
        torch.testing.assert_close(rows[row], expected, atol=1e-6, rtol=1e-5)


def test_all_kernels_run_on_a_little_data():
    _try_kernels(torch.device(DEVICE))


def test_power_leaves_out_the_last_bin():
    spectrum = torch.complex(random_tensor(7, 513), random_tensor(7, 513, seed=1))
    expected = spectrum.abs().square()[:, :-1]
    torch.testing.assert_close(kernels.power(spectrum), expected, atol=1e-5, rtol=1e-5)


def test_logarithm_equals_the_front_ends():
    bands = random_tensor(37, 128).abs() ** 8
    expected = ((bands + 1e-5).log() + 4.5) / 5
    found = kernels.log_in_place(bands, 1e-5, 4.5, 5.0)
    assert found is bands
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_patches_are_copied_band_by_band():
    frames, first = random_tensor(60, 128), torch.tensor([0, 10, 44], device=DEVICE)
    found = kernels.copy_patches(frames, first, 12, 10, 16, torch.float16)
    expected = [
        frames[start : start + 16, band : band + 16].T.flatten()
        for start in first.tolist()
        for band in range(0, 120, 10)
    ]
    assert torch.equal(found, torch.stack(expected).view(3, 12, 256).half())


def test_tokens_get_position_embeddings_and_their_rows():
    vectors, positions, special = (
        random_tensor(3, 4, 768),
        random_tensor(5, 4, 768, seed=1),
        random_tensor(2, 768, seed=2),
    )
    times = torch.tensor([0, 1, 0], device=DEVICE)
    patch_tokens = torch.tensor([2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15], device=DEVICE)
    special_tokens = torch.tensor([0, 1, 10, 11], device=DEVICE)
    found = kernels.place_tokens(vectors, positions, times, patch_tokens, special, special_tokens)
    sums = vectors + positions[times]
    first, second = sums[:2].flatten(0, 1), sums[2]
    torch.testing.assert_close(found, torch.cat([special, first, special, second]))
