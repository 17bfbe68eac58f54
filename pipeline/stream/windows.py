"""Windows over a clip: their positions, their number, and cutting them from a stream.

A clip up to the window length is embedded once, at its own length, unless the rule cuts every clip.
A longer clip is cut. With padding `hear` it is first reflected by half a window at both ends, as in
the reference, so window k is centred on k x hop. With `none` the first window starts at 0 and the
last one ends flush with the clip. The cutter receives the clip in pieces and keeps at most one
window of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UsageError
from pipeline.samples import Samples

PADDINGS = ("hear", "none")
BLOCK_SAMPLES = 48 * 32_000
"""Largest number of samples in a block of several windows: 6 MB, or 16 windows of 10 s."""


@dataclass(frozen=True, slots=True)
class WindowRule:
    """The rule by which clips are cut; all lengths in samples at 32 kHz.

    Attributes:
        window: Length of a window, and of the longest clip that stays whole.
        hop: Distance from the start of a window to the start of the next.
        padding: `hear` or `none`.
        whole: Whether clips up to the window stay whole. Otherwise they are reflected and cut like
            any other, and a clip must be longer than `pad`.
    """

    window: int
    hop: int
    padding: str = "hear"
    whole: bool = True

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise UsageError(f"padding must be one of {', '.join(PADDINGS)} (got {self.padding!r})")
        if self.window < 1 or self.hop < 1:
            raise UsageError(
                f"window and hop must be at least one sample (got {self.window} and {self.hop})"
            )
        assert self.whole or self.padding == "hear", "short clips are cut in their reflection only"

    @property
    def pad(self) -> int:
        """Number of samples reflected at each end of a clip that is cut."""
        return self.window // 2 if self.padding == "hear" else 0

    @property
    def longest_uncut(self) -> int:
        """Length of the longest clip that is not cut, in samples.

        Where `whole` is false, clips up to this length yield no window.
        """
        return self.window if self.whole else self.pad

    def count(self, n_samples: int) -> int:
        """Return the number of windows of a clip of `n_samples`; 0 for an empty clip."""
        if not n_samples:
            return 0
        if n_samples <= self.longest_uncut:
            return 1 if self.whole else 0
        steps, rest = divmod(n_samples + 2 * self.pad - self.window, self.hop)
        flush = self.padding == "none" and rest > 0
        return steps + 1 + flush

    def start(self, index: int, n_samples: int) -> int:
        """Return the first sample of window `index`; negative where it starts in the reflection."""
        if n_samples <= self.longest_uncut:
            return 0
        start = index * self.hop - self.pad
        return min(start, n_samples - self.window) if self.padding == "none" else start

    def span(self, index: int, n_samples: int) -> tuple[int, int]:
        """Return the first and one past the last sample of the clip in window `index`."""
        start = self.start(index, n_samples)
        return max(0, start), min(n_samples, start + self.window)


@dataclass(frozen=True, slots=True)
class WindowBlock:
    """Consecutive windows of one clip; overlaps are stored once.

    Attributes:
        clip: Index of the clip in its shard.
        first_index: Index of the first window.
        length: Number of samples of each window.
        offsets: Index in `pcm` at which each window starts.
        pcm: Float32 samples at 32 kHz.
    """

    clip: int
    first_index: int
    length: int
    offsets: tuple[int, ...]
    pcm: Samples

    def windows(self) -> Iterator[Samples]:
        """Return the windows, float32 (length,) each, as views of `pcm`."""
        return (self.pcm[offset : offset + self.length] for offset in self.offsets)


class WindowCutter:
    """A cutter of one clip that arrives in pieces of any size.

    Args:
        rule: Rule by which the clip is cut.
        clip: Index of the clip in its shard; it is written on the blocks.
        full_blocks: Whether all blocks but the clip's last are as long as they may be. Otherwise
            they are cut as soon as the samples have arrived. Short hops need full blocks, for
            batches that fill a forward.
    """

    def __init__(self, rule: WindowRule, clip: int = 0, full_blocks: bool = False) -> None:
        self.rule = rule
        self.clip = clip
        self._most = max(1, (BLOCK_SAMPLES - rule.window) // rule.hop + 1)
        self._least = self._most if full_blocks else 1
        self.n_samples = 0
        self.n_windows = 0
        # The part of the (once padded) stream from sample `_origin` of the clip on.
        self._pieces: list[Samples] = []
        self._origin = 0
        self._end = 0
        self._tail: Samples = np.zeros(0, np.float32)
        self._is_long = False

    def push(self, piece: Samples) -> Iterator[WindowBlock]:
        """Take the next samples and yield the blocks that they complete."""
        if not len(piece):
            return
        self._append(piece)
        self.n_samples += len(piece)
        # The end of the clip may need these samples for a flush window or the reflection.
        self._tail = np.concatenate((self._tail, piece))[-(self.rule.window + 1) :]
        if not self._is_long and self.n_samples > self.rule.longest_uncut:
            self._is_long = True
            if self.rule.pad:
                head = self._joined()
                reflected = head[self.rule.pad : 0 : -1]
                self._pieces, self._origin = [reflected, head], -self.rule.pad
        if self._is_long:
            yield from self._complete(self._least)

    def finish(self) -> Iterator[WindowBlock]:
        """Yield the last blocks, once the clip has ended."""
        if not self.rule.count(self.n_samples):
            return
        if not self._is_long:
            self.n_windows = 1
            yield WindowBlock(self.clip, 0, self.n_samples, (0,), self._joined())
        elif self.rule.pad:
            self._append(self._tail[-2 : -2 - self.rule.pad : -1])
            yield from self._complete(1)
        elif self.n_windows < self.rule.count(self.n_samples):
            flush = self._tail[-self.rule.window :].copy()
            yield WindowBlock(self.clip, self.n_windows, self.rule.window, (0,), flush)
            self.n_windows += 1

    def _append(self, piece: Samples) -> None:
        skip = max(0, self._origin - self._end) if not self._pieces else 0
        if skip < len(piece):
            self._pieces.append(piece[skip:] if skip else piece)
        self._end += len(piece)

    def _joined(self) -> Samples:
        if len(self._pieces) > 1:
            self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0] if self._pieces else np.zeros(0, np.float32)

    def _complete(self, least: int) -> Iterator[WindowBlock]:
        """Yield blocks of the windows that have arrived, with at least `least` windows each."""
        window, hop = self.rule.window, self.rule.hop
        while True:
            start = self.n_windows * hop - self.rule.pad
            ready = (self._end - start - window) // hop + 1
            if ready < least:
                break
            n = min(ready, self._most)
            stream = self._joined()
            begin = start - self._origin
            stop = begin + (n - 1) * hop + window
            if hop > window:  # the gaps between windows need not travel
                n, stop = 1, begin + window
            offsets = tuple(i * hop for i in range(n))
            block = stream[begin:stop].copy()
            yield WindowBlock(self.clip, self.n_windows, window, offsets, block)
            self.n_windows += n
            self._forget(self.n_windows * hop - self.rule.pad)

    def _forget(self, start: int) -> None:
        """Drop the samples before `start`, where the next window begins."""
        stream = self._joined()
        self._pieces = [stream[start - self._origin :].copy()] if start < self._end else []
        self._origin = start
