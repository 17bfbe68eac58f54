"""Windows of mixed lengths that go through together: where each lies among samples, frames, tokens.

The log-mel front end sees one stream, in which every window with its own reflections takes a slot
of whole hops; so one short-time Fourier transform makes the frames of all of them. From these each
window takes those that its patches cover, and its patches become its tokens. All of it is a few
operations on the whole pack, however many lengths there are, and none that waits for a device.
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
"""The class and the distillation token, at the head of every sequence."""


class FrameSlots(NamedTuple):
    """Where the frames of a pack's stream lie in its windows.

    Attributes:
        windows: int32 (frames,), the window that each frame is of.
        places: int32 (frames,), the place in it that each frame begins at; before the start and
            behind the end the window is reflected.
        lengths: int32 (n_windows or more,), samples of each window.
    """

    windows: Tensor
    places: Tensor
    lengths: Tensor


class WindowPack:
    """The geometry of a pack; it depends on the lengths of its windows alone.

    Args:
        n_samples: of each window; those with the same number of time patches adjacent.
        spec: the arch.
        device: where it is to be used.

    Attributes:
        n_samples: of each window.
        sequences: of the pack's tokens.
        n_tokens: of all its windows.
        patch_frames: int64 (time patches,), the frame that each time patch begins at.
        patch_times: int64 (time patches,), its place in its window.
        patch_tokens: int64 (patches,), the token that each patch becomes, time patch by time patch.
        special_tokens: int64 (windows x 2,), those before each window's patches.
    """

    def __init__(self, n_samples: Sequence[int], spec: ArchSpec, device: torch.device) -> None:
        n_times = [spec.n_time_patches(n) for n in n_samples]
        self._hop = spec.hop_samples
        self.n_samples = tuple(n_samples)
        # Behind a window's frames the slot has those that reach into the next one.
        spare = -(-N_FFT // self._hop) - 1
        self._slots = [(n - 1) * spec.stride + PATCH_SIZE + spare for n in n_times]
        n_tokens = [spec.n_tokens(n) for n in n_samples]
        self.n_tokens = sum(n_tokens)
        groups = tuple(Group(len(list(same)), n) for n, same in groupby(n_tokens))
        starts = [
            list(accumulate(counts, initial=0)) for counts in (n_times, self._slots, n_tokens)
        ]
        table = small_tensor([[*n_samples, 0], *starts], torch.int32, device)
        self._lengths_there, times, self._slot_starts, tokens = table
        self.sequences = Sequences(groups, tokens)
        n_time, n_freq = sum(n_times), (N_MELS - PATCH_SIZE) // spec.stride + 1
        window = _owners(times, n_time)
        self.patch_times = torch.arange(n_time, device=device) - times[window]
        self.patch_frames = self._slot_starts[window] + self.patch_times * spec.stride
        patches = torch.arange(n_time * n_freq, device=device).view(n_time, n_freq)
        self.patch_tokens = (patches + N_SPECIAL * (window + 1)[:, None]).flatten()
        places = torch.arange(N_SPECIAL, device=device)
        self.special_tokens = (tokens[:-1, None] + places).flatten()
        self._places: Tensor | None = None
        if len(set(n_samples)) == 1:
            centred = _centred(self._slots[0] * self._hop, device)
            self._places = _reflected(centred, n_samples[0] - 2)

    def stream_index(self, offsets: Tensor) -> Tensor:
        """Where each sample of the front end's stream comes from.

        Args:
            offsets: int32 (n_windows,), where the windows begin.

        Returns:
            int32 (stream samples,), places in the pre-emphasised samples, of which a window has one
            less than samples. What belongs to no frame of a window is some place of it.
        """
        if self._places is not None:
            return (offsets[:, None] + self._places).flatten()
        starts = self._slot_starts * self._hop
        n = sum(self._slots) * self._hop
        window = _owners(starts, n)
        places = _centred(n, offsets.device) - starts[window]
        return offsets[window] + _reflected(places, (self._lengths_there - 2)[window])

    @cached_property
    def frame_slots(self) -> FrameSlots:
        """Where the frames lie that `stream_index` makes, those between windows among them."""
        n_frames = sum(self._slots)
        windows = _owners(self._slot_starts, n_frames)
        rows = torch.arange(n_frames, dtype=torch.int32, device=windows.device)
        places = (rows - self._slot_starts[windows]) * self._hop - N_FFT // 2
        return FrameSlots(windows.int(), places, self._lengths_there)


def _owners(starts: Tensor, total: int) -> Tensor:
    """Which run each of `total` places is in; int64."""
    n_runs = len(starts) - 1
    runs = torch.arange(n_runs, device=starts.device)
    # output_size: else it would wait for the device to say it.
    return torch.repeat_interleave(runs, starts.diff(), output_size=total)


def _centred(n: int, device: torch.device) -> Tensor:
    # The first frame is centred on the first sample.
    return torch.arange(-(N_FFT // 2), n - N_FFT // 2, dtype=torch.int32, device=device)


def _reflected(places: Tensor, last: Tensor | int) -> Tensor:
    places = places.abs()
    return torch.minimum(places, 2 * last - places).clamp_(min=0)


def small_tensor(
    values: Sequence[int] | Sequence[Sequence[int]], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """A few numbers on a device; the host does not wait until they are there."""
    if device.type != "cuda":
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)
