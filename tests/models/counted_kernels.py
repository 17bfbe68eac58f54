"""Stand-ins for `models.passt.kernels` that only allocate outputs and count kernel launches."""

import torch

_launch_bytes = []
"""Bytes written by each launch since the last reset."""


def n_launches():
    """Return the number of launches since the last reset, and reset the counter."""
    n = len(_launch_bytes)
    _launch_bytes.clear()
    return n


def n_bytes():
    """Return the bytes written since the last reset, and reset the counter."""
    n = sum(_launch_bytes)
    _launch_bytes.clear()
    return n


def record_launch(tensor):
    _launch_bytes.append(tensor.nbytes)
    return tensor


def norm(rows, deferred, weight, bias, epsilon):
    return record_launch(torch.empty_like(rows))


def cut_frames(samples, offsets, slots, taper, pre_emphasis, n_rows):
    return record_launch(samples.new_empty(n_rows, len(taper)))


def power(spectrum):
    return record_launch(torch.empty(len(spectrum), spectrum.shape[1] - 1, device=spectrum.device))


def log_in_place(bands, offset, shift, scale):
    return record_launch(bands)


def copy_patches(frames, first, n_freq, stride, size, dtype):
    return record_launch(
        torch.empty(len(first), n_freq, size * size, dtype=dtype, device=frames.device)
    )


def place_tokens(vectors, positions, times, patch_tokens, special, special_tokens):
    n_tokens = vectors.shape[0] * vectors.shape[1] + len(special_tokens)
    record_launch(special)
    return record_launch(vectors.new_empty(n_tokens, vectors.shape[2]))
