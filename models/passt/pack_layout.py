"""Layout of a pack: where each window lies among the samples, frames and tokens of one forward.

A pack holds windows of mixed lengths. The log-mel front end sees one stream, in which each window,
reflected at both ends, fills a slot of a whole number of hops. A single short-time Fourier
transform makes the frames of all windows. Each window's patches are cut from its frames and become
its tokens. Every step is a few operations on the whole pack, however many lengths it has, and none
of them waits for the device.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from torch import Tensor

from models.archs import N_FFT, N_MELS, PATCH_SIZE, ArchSpec
from models.passt.attention import Group, Sequences

N_SPECIAL = 2
"""Special tokens at the start of every sequence: the class and the distillation token."""


class FrameSlots(NamedTuple):
    """Position of each frame of a pack's stream in its window.

    Attributes:
        windows: Index of each frame's window, int32 (frames,).
        starts: Position in the window of each frame's first sample, int32 (frames,). It may lie
            before the start or past the end, where the window is reflected.
        lengths: Samples of each window, int32 (n_windows or more,).
    """

    windows: Tensor
    starts: Tensor
    lengths: Tensor


class WindowPack:
    """Geometry of a pack, which depends only on the lengths of its windows.

    Args:
        n_samples: Samples of each window. Windows with the same number of time patches must be
            adjacent.
        spec: The arch.
        device: Device of the tensors.

    Attributes:
        n_samples: Samples of each window.
        sequences: Sequences of the pack's tokens, one per window.
        n_tokens: Number of tokens of all windows.
        patch_frames: First frame of each time patch, int64 (time patches,).
        patch_times: Index of each time patch in its window, int64 (time patches,).
        patch_tokens: Token that each patch becomes, int64 (patches,), time patch by time patch.
        special_tokens: Special tokens of each window, int64 (windows x 2,).
    """

    def __init__(self, n_samples: Sequence[int], spec: ArchSpec, device: torch.device) -> None:
        n_times = [spec.n_time_patches(n) for n in n_samples]
        self._hop = spec.hop_samples
        self.n_samples = tuple(n_samples)
        # A slot ends with frames that reach into the next window; no patch uses them.
        unused = -(-N_FFT // self._hop) - 1
        self._slots = [(n - 1) * spec.stride + PATCH_SIZE + unused for n in n_times]
        n_tokens = [spec.n_tokens(n) for n in n_samples]
        self.n_tokens = sum(n_tokens)
        groups = tuple(Group(len(list(run)), n) for n, run in groupby(n_tokens))
        starts = [
            list(accumulate(counts, initial=0)) for counts in (n_times, self._slots, n_tokens)
        ]
        table = small_tensor([[*n_samples, 0], *starts], torch.int32, device)
        self._lengths, times, self._slot_starts, tokens = table
        self.sequences = Sequences(groups, tokens)
        n_time, n_freq = sum(n_times), (N_MELS - PATCH_SIZE) // spec.stride + 1
        window = _segment_index(times, n_time)
        self.patch_times = torch.arange(n_time, device=device) - times[window]
        self.patch_frames = self._slot_starts[window] + self.patch_times * spec.stride
        patches = torch.arange(n_time * n_freq, device=device).view(n_time, n_freq)
        self.patch_tokens = (patches + N_SPECIAL * (window + 1)[:, None]).flatten()
        special = torch.arange(N_SPECIAL, device=device)
        self.special_tokens = (tokens[:-1, None] + special).flatten()
        # Windows of equal length share the positions of one slot, so those are computed once.
        self._slot_positions: Tensor | None = None
        if len(set(n_samples)) == 1:
            positions = _stream_positions(self._slots[0] * self._hop, device)
            self._slot_positions = _reflect(positions, n_samples[0] - 2)

    def stream_index(self, offsets: Tensor) -> Tensor:
        """Return the source of each sample of the front end's stream.

        A stream sample that is in no frame of a window gets some index within its window.

        Args:
            offsets: First sample of each window, int32 (n_windows,).

        Returns:
            Indices in the pre-emphasised samples, int32 (stream samples,). A window has one
            pre-emphasised sample less than samples.
        """
        if self._slot_positions is not None:
            return (offsets[:, None] + self._slot_positions).flatten()
        starts = self._slot_starts * self._hop
        n = sum(self._slots) * self._hop
        window = _segment_index(starts, n)
        positions = _stream_positions(n, offsets.device) - starts[window]
        return offsets[window] + _reflect(positions, (self._lengths - 2)[window])

    @cached_property
    def frame_slots(self) -> FrameSlots:
        """Positions of all frames of the stream, including the unused ones between windows."""
        n_frames = sum(self._slots)
        windows = _segment_index(self._slot_starts, n_frames)
        rows = torch.arange(n_frames, dtype=torch.int32, device=windows.device)
        starts = (rows - self._slot_starts[windows]) * self._hop - N_FFT // 2
        return FrameSlots(windows.int(), starts, self._lengths)


def _segment_index(starts: Tensor, total: int) -> Tensor:
    """Return the segment that each of `total` items belongs to, int64 (total,).

    Args:
        starts: First item of each segment, and `total` at the end.
        total: Number of items.
    """
    segments = torch.arange(len(starts) - 1, device=starts.device)
    # Without output_size torch would wait for the device to compute it.
    return torch.repeat_interleave(segments, starts.diff(), output_size=total)


def _stream_positions(n: int, device: torch.device) -> Tensor:
    # The first frame is centred on the first sample.
    return torch.arange(-(N_FFT // 2), n - N_FFT // 2, dtype=torch.int32, device=device)


def _reflect(positions: Tensor, last: Tensor | int) -> Tensor:
    positions = positions.abs()
    return torch.minimum(positions, 2 * last - positions).clamp_(min=0)


def small_tensor(
    values: Sequence[int] | Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return a tensor of a few numbers on a device, without waiting for the copy to finish."""
    if device.type != "cuda":
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)
