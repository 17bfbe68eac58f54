"""Triton kernels that make one pass over memory where torch's operators make several.

Each function launches one kernel; `place_tokens` launches two. The kernels compute in float32
whatever the dtype of their inputs, have no gradient and do not wait for the device. They need a
device that Triton compiles for (see `models.passt.fused`); torch's builds for CUDA include Triton.

Each Triton program computes one row; `_log` computes a block. No kernel is specialized for a number
that differs between packs: Triton would compile the kernel again for some of its values, during a
run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.passt.pack_layout import FrameSlots

_LOG_BLOCK = 1024
"""Numbers that one program of `_log` computes."""


def norm(
    rows: Tensor, deferred: Tensor | None, weight: Tensor, bias: Tensor, epsilon: float
) -> Tensor:
    """Return the layer norm of rows, after adding a deferred bias to each row.

    Args:
        rows: Rows without the deferred bias, (n, dim), contiguous.
        deferred: Bias to add to each row first, (dim,); None for no bias.
        weight: Weight of the norm, (dim,).
        bias: Bias of the norm, (dim,).
        epsilon: Number to add to the variance.

    Returns:
        (n, dim) in the dtype of `rows`.
    """
    n, dim = rows.shape
    normed = torch.empty_like(rows)
    width = triton.next_power_of_2(dim)
    _norm[(n,)](
        *(rows, rows if deferred is None else deferred, weight, bias, normed),
        *(epsilon, dim, width, deferred is not None),
    )
    return normed


@triton.jit
def _norm(
    rows,
    deferred,
    weight,
    bias,
    normed,
    epsilon,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_DEFERRED: tl.constexpr,
):
    columns = tl.arange(0, WIDTH)
    is_inside = columns < DIM
    at = tl.program_id(0).to(tl.int64) * DIM + columns
    row = tl.load(rows + at, mask=is_inside, other=0.0).to(tl.float32)
    if HAS_DEFERRED:
        row += tl.load(deferred + columns, mask=is_inside, other=0.0).to(tl.float32)
    mean = tl.sum(row, axis=0) / DIM
    centred = tl.where(is_inside, row - mean, 0.0)
    variance = tl.sum(centred * centred, axis=0) / DIM
    scaled = centred * (1.0 / tl.sqrt(variance + epsilon))
    slope = tl.load(weight + columns, mask=is_inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    tl.store(normed + at, scaled * slope + offset, mask=is_inside)


def cut_frames(
    samples: Tensor,
    offsets: Tensor,
    slots: FrameSlots,
    taper: Tensor,
    pre_emphasis: float,
    n_rows: int,
) -> Tensor:
    """Cut windows into pre-emphasised, tapered frames, ready for a Fourier transform.

    Args:
        samples: Samples that contain the windows, float32 (n_samples,), contiguous.
        offsets: First sample of each window, int32 (n_windows,).
        slots: Window of each frame and the frame's position in it.
        taper: Factors that each frame is multiplied by, float32 (n_fft,); n_fft is a power of two.
        pre_emphasis: Share of the preceding sample to subtract from each sample.
        n_rows: Number of rows to allocate, at least the number of frames of `slots`.

    Returns:
        Frames in the order of `slots`, float32 (n_rows, n_fft). Rows after them are uninitialized.
    """
    n_fft = len(taper)
    frames = samples.new_empty(n_rows, n_fft)
    _cut_frames[(len(slots.windows),)](samples, offsets, *slots, taper, frames, pre_emphasis, n_fft)
    return frames


@triton.jit
def _cut_frames(
    samples, offsets, windows, starts, lengths, taper, frames, pre_emphasis, N_FFT: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, N_FFT)
    window = tl.load(windows + row)
    # Index of the window's last pre-emphasised sample: there is one less than there are samples.
    last = tl.load(lengths + window) - 2
    position = tl.abs(tl.load(starts + row) + within)
    position = tl.maximum(tl.minimum(position, 2 * last - position), 0)
    at = samples + tl.load(offsets + window).to(tl.int64) + position
    emphasised = tl.load(at + 1) - pre_emphasis * tl.load(at)
    tl.store(frames + row * N_FFT + within, emphasised * tl.load(taper + within))


def power(spectrum: Tensor) -> Tensor:
    """Return the power of spectra without their last bin, which belongs to no mel band.

    Args:
        spectrum: Spectra, complex64 (n, bins + 1), contiguous; `bins` is a power of two.

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
    """Replace each number by (log(number + offset) + shift) / scale, and return the tensor.

    Args:
        bands: Band powers, float32 of any shape, contiguous; overwritten.
        offset: Number to add before the logarithm.
        shift: Number to add after the logarithm.
        scale: Number to divide by at the end.
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


def copy_patches(
    frames: Tensor, first: Tensor, n_freq: int, stride: int, size: int, dtype: torch.dtype
) -> Tensor:
    """Copy square patches out of a spectrogram.

    Args:
        frames: Spectrogram frames, float32 (frames, bands), contiguous.
        first: Frame at which each time patch begins, int64 (n,).
        n_freq: Number of patches along the bands.
        stride: Number of bands from one patch to the next.
        size: Number of bands, and of frames, in a patch; a power of two.
        dtype: Dtype of the copies.

    Returns:
        (n, n_freq, size x size), each patch band by band.
    """
    copies = torch.empty(len(first), n_freq, size * size, dtype=dtype, device=frames.device)
    _copy_patches[(len(first) * n_freq,)](
        *(frames, first, copies), *(n_freq, stride, size, frames.shape[1])
    )
    return copies


@triton.jit
def _copy_patches(
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


def place_tokens(
    vectors: Tensor,
    positions: Tensor,
    times: Tensor,
    patch_tokens: Tensor,
    special: Tensor,
    special_tokens: Tensor,
) -> Tensor:
    """Add position embeddings to patches and write them and the special tokens into sequences.

    Args:
        vectors: Embedded patches, (n, n_freq, dim).
        positions: Position embeddings over time and frequency, (n_time, n_freq, dim).
        times: Index in `positions` of each time patch, int64 (n,).
        patch_tokens: Row of the result for each patch, int64 (n x n_freq,).
        special: Tokens before each window's patches, (n_special, dim).
        special_tokens: Row of the result for each special token, int64 (n_windows x n_special,).

    Returns:
        (tokens, dim) in the dtype of `vectors`.
    """
    n, n_freq, dim = vectors.shape
    n_patches = n * n_freq
    tokens = vectors.new_empty(n_patches + len(special_tokens), dim)
    width = triton.next_power_of_2(dim)
    _place_patches[(n_patches,)](
        *(vectors, positions, times, patch_tokens, tokens), *(n_freq, dim, width)
    )
    _place_special[(len(special_tokens),)](
        *(special, special_tokens, tokens), *(len(special), dim, width)
    )
    return tokens


@triton.jit
def _place_patches(
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
def _place_special(
    special, special_tokens, tokens, N_SPECIAL: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    is_inside = columns < DIM
    token = tl.load(special + row % N_SPECIAL * DIM + columns, mask=is_inside, other=0.0)
    tl.store(tokens + tl.load(special_tokens + row) * DIM + columns, token, mask=is_inside)
