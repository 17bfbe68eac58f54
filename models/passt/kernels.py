"""Triton kernels: one pass over memory where torch's operators take several.

Each function launches one kernel, `placed` two. They compute in float32 whatever their inputs are,
and need a device that Triton compiles for; `fused` says where that is so. None of them has a
gradient, and none waits for the device. Triton is part of torch's builds for CUDA.

Numbers that differ from pack to pack are no arguments of the kernels: Triton would compile a kernel
anew for some of their values, in the middle of a run. A program takes a row.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.passt.pack_layout import FrameSlots

_LOG_BLOCK = 1024


def norm(rows: Tensor, owed: Tensor | None, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Return the layer norm of rows to which a vector is added first.

    Args:
        rows: (n, dim), contiguous.
        owed: Vector of shape (dim,) that the rows lack; None for nothing.
        weight: Weight of the norm, (dim,).
        bias: Bias of the norm, (dim,).
        epsilon: Number that is added to the variance.

    Returns:
        (n, dim) in the dtype of `rows`.
    """
    n, dim = rows.shape
    normed = torch.empty_like(rows)
    width = triton.next_power_of_2(dim)
    _norm[(n,)](
        *(rows, rows if owed is None else owed, weight, bias, normed),
        *(epsilon, dim, width, owed is not None),
    )
    return normed


@triton.jit
def _norm(
    rows,
    owed,
    weight,
    bias,
    normed,
    epsilon,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_OWED: tl.constexpr,
):
    columns = tl.arange(0, WIDTH)
    is_inside = columns < DIM
    at = tl.program_id(0).to(tl.int64) * DIM + columns
    row = tl.load(rows + at, mask=is_inside, other=0.0).to(tl.float32)
    if HAS_OWED:
        row += tl.load(owed + columns, mask=is_inside, other=0.0).to(tl.float32)
    mean = tl.sum(row, axis=0) / DIM
    centred = tl.where(is_inside, row - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / DIM
    scaled = centred * (1.0 / tl.sqrt(variance + epsilon))
    slope = tl.load(weight + columns, mask=is_inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    tl.store(normed + at, scaled * slope + offset, mask=is_inside)


def framed(
    samples: Tensor,
    offsets: Tensor,
    slots: FrameSlots,
    taper: Tensor,
    pre_emphasis: float,
    n_rows: int,
) -> Tensor:
    """Return frames of pre-emphasised windows, ready for a Fourier transform.

    Args:
        samples: float32 (n_samples,), what the windows are cut from; contiguous.
        offsets: int32 (n_windows,), where each window begins in `samples`.
        slots: Where each frame lies in its window.
        taper: float32 (n_fft,), what each frame is multiplied by; a power of two long.
        pre_emphasis: Share of the sample before that is taken off each one.
        n_rows: Number of frames to make room for, at least as many as `slots` has.

    Returns:
        float32 (n_rows, n_fft); what is behind the frames of `slots` holds any numbers.
    """
    n_fft = len(taper)
    frames = samples.new_empty(n_rows, n_fft)
    _framed[(len(slots.windows),)](samples, offsets, *slots, taper, frames, pre_emphasis, n_fft)
    return frames


@triton.jit
def _framed(
    samples, offsets, windows, places, lengths, taper, frames, pre_emphasis, N_FFT: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, N_FFT)
    window = tl.load(windows + row)
    # Of the pre-emphasised samples a window has one less than of samples.
    last = tl.load(lengths + window) - 2
    place = tl.abs(tl.load(places + row) + within)
    place = tl.maximum(tl.minimum(place, 2 * last - place), 0)
    at = samples + tl.load(offsets + window).to(tl.int64) + place
    emphasised = tl.load(at + 1) - pre_emphasis * tl.load(at)
    tl.store(frames + row * N_FFT + within, emphasised * tl.load(taper + within))


def power(spectrum: Tensor) -> Tensor:
    """Return the power of spectra without their last bin, which no mel band takes.

    Args:
        spectrum: complex64 (n, bins + 1), contiguous; `bins` is a power of two.

    Returns:
        float32 (n, bins).
    """
    parts = torch.view_as_real(spectrum)
    n, bins = len(spectrum), spectrum.shape[1] - 1
    powers = parts.new_empty(n, bins)
    _power[(n,)](parts, powers, bins)
    return powers


@triton.jit
def _power(parts, powers, BINS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    bins = tl.arange(0, BINS)
    at = 2 * (row * (BINS + 1) + bins)
    real, imaginary = tl.load(parts + at), tl.load(parts + at + 1)
    tl.store(powers + row * BINS + bins, real * real + imaginary * imaginary)


def log_in_place(bands: Tensor, offset: float, shift: float, scale: float) -> Tensor:
    """Replace numbers by (log(number + offset) + shift) / scale; return them.

    Args:
        bands: float32, contiguous.
        offset: Number that is added before the logarithm.
        shift: Number that is added after it.
        scale: Number that the sum is divided by.
    """
    n = bands.numel()
    _log[(triton.cdiv(n, _LOG_BLOCK),)](bands, offset, shift, scale, n, _LOG_BLOCK)
    return bands


@triton.jit(do_not_specialize=["n"])
def _log(bands, offset, shift, scale, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_inside = at < n
    band = tl.load(bands + at, mask=is_inside, other=0.0)
    tl.store(bands + at, (tl.log(band + offset) + shift) / scale, mask=is_inside)


def patches(
    frames: Tensor, first: Tensor, n_freq: int, stride: int, size: int, dtype: torch.dtype
) -> Tensor:
    """Return square patches of a spectrogram, copied out.

    Args:
        frames: float32 (frames, bands), contiguous.
        first: int64 (n,), the frame that each time patch begins at.
        n_freq: Number of patches over the bands.
        stride: Number of bands from one patch to the next.
        size: Number of bands and of frames of a patch, a power of two.
        dtype: Dtype of the copies.

    Returns:
        (n, n_freq, size x size), bands before frames.
    """
    copies = torch.empty(len(first), n_freq, size * size, dtype=dtype, device=frames.device)
    _patches[(len(first) * n_freq,)](
        *(frames, first, copies), *(n_freq, stride, size, frames.shape[1])
    )
    return copies


@triton.jit
def _patches(
    frames,
    first,
    copies,
    N_FREQ: tl.constexpr,
    STRIDE: tl.constexpr,
    SIZE: tl.constexpr,
    N_BANDS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, SIZE * SIZE)
    frame = tl.load(first + row // N_FREQ) + within % SIZE
    band = row % N_FREQ * STRIDE + within // SIZE
    content = tl.load(frames + frame * N_BANDS + band)
    tl.store(copies + row * SIZE * SIZE + within, content)


def placed(
    vectors: Tensor,
    positions: Tensor,
    times: Tensor,
    patch_tokens: Tensor,
    special: Tensor,
    special_tokens: Tensor,
) -> Tensor:
    """Return token sequences of patches with their positions, and of special tokens.

    Args:
        vectors: (n, n_freq, dim), what the patches were made to.
        positions: (n_time, n_freq, dim), positions over time and frequency.
        times: int64 (n,), place in `positions` of each time patch.
        patch_tokens: int64 (n x n_freq,), the token that each patch becomes.
        special: (n_special, dim), tokens that come before each window's patches.
        special_tokens: int64 (n_windows x n_special,), where they go.

    Returns:
        (tokens, dim) in the dtype of `vectors`.
    """
    n, n_freq, dim = vectors.shape
    n_patches = n * n_freq
    tokens = vectors.new_empty(n_patches + len(special_tokens), dim)
    width = triton.next_power_of_2(dim)
    _placed[(n_patches,)](*(vectors, positions, times, patch_tokens, tokens), *(n_freq, dim, width))
    _placed_special[(len(special_tokens),)](
        *(special, special_tokens, tokens), *(len(special), dim, width)
    )
    return tokens


@triton.jit
def _placed(
    vectors,
    positions,
    times,
    patch_tokens,
    tokens,
    N_FREQ: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    is_inside = columns < DIM
    position = tl.load(times + row // N_FREQ) * N_FREQ + row % N_FREQ
    vector = tl.load(vectors + row * DIM + columns, mask=is_inside, other=0.0).to(tl.float32)
    at = position * DIM + columns
    vector += tl.load(positions + at, mask=is_inside, other=0.0).to(tl.float32)
    tl.store(tokens + tl.load(patch_tokens + row) * DIM + columns, vector, mask=is_inside)


@triton.jit
def _placed_special(
    special,
    special_tokens,
    tokens,
    N_SPECIAL: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    is_inside = columns < DIM
    token = tl.load(special + row % N_SPECIAL * DIM + columns, mask=is_inside, other=0.0)
    tl.store(tokens + tl.load(special_tokens + row) * DIM + columns, token, mask=is_inside)


def try_all(device: torch.device) -> None:
    """Launch each kernel once on next to nothing; raise what does not work on a device.

    Args:
        device: A device that is not recording a graph.
    """
    with torch.device(device):
        rows, whole = torch.zeros(2, 768, dtype=torch.float16), torch.zeros(1, dtype=torch.int32)
        for owed in (None, torch.zeros(768)):
            norm(rows, owed, rows[0], rows[0], 1e-6)
        slots = FrameSlots(whole, whole, torch.full((1,), 2000, dtype=torch.int32))
        framed(torch.zeros(2000), whole, slots, torch.zeros(1024), 0.97, 1)
        power(torch.zeros(1, 513, dtype=torch.complex64))
        bands = log_in_place(torch.ones(16, 128), 1e-5, 4.5, 5.0)
        copies = patches(bands, whole.long(), 12, 10, 16, torch.float16)
        vectors = copies.new_zeros(1, 12, 768)
        placed(vectors, vectors, whole.long(), torch.arange(2, 14), rows, torch.arange(2))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
