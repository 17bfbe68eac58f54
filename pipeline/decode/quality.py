"""The loudness and clipping of a clip, measured between decoder and resampler.

Peak and clipping are properties of the recording, so they are measured on every channel at the
file's own rate, before mixing. The RMS is that of the mono mix, which the model gets. Full scale is
1.0. Decibels have a floor, because Parquet readers differ in how they treat infinities.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Samples

FLOOR_DBFS = -120.0
"""Level of silence; softer levels are below the resolution of a 20-bit converter."""
CLIPPED_FROM = 0.9999
"""Magnitude that counts as clipped: the last three steps of 16 bits, and 8 bits' lower end."""
_ROW = 1024


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality columns of a clip.

    Attributes:
        rms_dbfs: Root mean square of the mono mix, in dB relative to 1.0, at least `FLOOR_DBFS`; a
            full-scale sine has -3.01.
        peak_dbfs: Largest magnitude in any channel, in dB relative to 1.0, at least `FLOOR_DBFS`.
        clipped_ratio: Share of the frames in which a channel reaches `CLIPPED_FROM`.
    """

    rms_dbfs: float = FLOOR_DBFS
    peak_dbfs: float = FLOOR_DBFS
    clipped_ratio: float = 0.0


SILENCE = Quality()


class QualityMeter:
    """A meter of a clip that comes in pieces of finite samples, of any size."""

    def __init__(self) -> None:
        self._n_frames = 0
        self._n_clipped = 0
        self._peak = 0.0
        self._energy = 0.0

    def add(self, frames: Samples, mono: Samples) -> None:
        """Add the next frames.

        Args:
            frames: Float32 (frames, channels) as decoded.
            mono: Float32 (frames,), the mix of their channels.
        """
        if not len(mono):
            return
        # Two reductions without a temporary; abs() would copy.
        peak = max(float(frames.max()), -float(frames.min()))
        if peak >= CLIPPED_FROM:
            self._n_clipped += int((np.abs(frames) >= CLIPPED_FROM).any(axis=1).sum())
        self._peak = max(self._peak, peak)
        self._energy += _energy(mono)
        self._n_frames += len(mono)

    def result(self) -> Quality:
        """Return the quality of the frames so far."""
        if not self._n_frames:
            return SILENCE
        return Quality(
            rms_dbfs=_dbfs(math.sqrt(self._energy / self._n_frames)),
            peak_dbfs=_dbfs(self._peak),
            clipped_ratio=self._n_clipped / self._n_frames,
        )


def _energy(mono: Samples) -> float:
    """Sum the squares, in float32 within short rows and in float64 over rows."""
    whole = len(mono) // _ROW * _ROW
    rows = mono[:whole].reshape(-1, _ROW)
    with np.errstate(over="ignore"):
        sums = np.einsum("ij,ij->i", rows, rows)
    energy = float(sums.sum(dtype=np.float64)) + float(
        np.square(mono[whole:], dtype=np.float64).sum()
    )
    if not math.isfinite(energy):  # a float file may hold 1e30
        energy = float(np.square(mono, dtype=np.float64).sum())
    return energy


def _dbfs(magnitude: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(magnitude)) if magnitude > 0 else FLOOR_DBFS
