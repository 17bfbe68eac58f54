"""Measuring the level and the clipping of a clip, between decoder and resampler.

Peak and clipping are properties of the recording, so they are measured on every channel at the
file's own rate, before mixing. The RMS is that of the mono mix, which the model gets. Full scale is
1.0. Decibels have a floor, because Parquet readers differ in how they treat infinities.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Samples

FLOOR_DBFS = -120.0
"""Lowest level that is reported, in dB relative to full scale; also the level of silence.

Softer levels are below the resolution of a 20-bit converter.
"""
CLIPPED_FROM = 0.9999
"""Magnitude from which on a sample counts as clipped.

The last three steps of 16-bit audio reach it, and the lowest value of 8-bit audio.
"""
_ROW_SAMPLES = 1024
"""Number of samples whose squares are summed in float32."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The quality columns of a clip.

    Attributes:
        rms_dbfs: Root mean square of the mono mix, in dB relative to 1.0, at least `FLOOR_DBFS`; a
            full-scale sine has -3.01.
        peak_dbfs: Largest magnitude in any channel, in dB relative to 1.0, at least `FLOOR_DBFS`.
        clipped_ratio: Share of the frames in which any channel reaches `CLIPPED_FROM`, 0 to 1.
    """

    rms_dbfs: float = FLOOR_DBFS
    peak_dbfs: float = FLOOR_DBFS
    clipped_ratio: float = 0.0


SILENCE = Quality()
"""Quality of a clip without frames, or of digital silence."""


class QualityMeter:
    """A meter of level and clipping that takes a clip in pieces of any size.

    All samples must be finite.
    """

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
        # Two reductions need no temporary array; abs() would allocate one.
        peak = max(float(frames.max()), -float(frames.min()))
        if peak >= CLIPPED_FROM:
            self._n_clipped += int((np.abs(frames) >= CLIPPED_FROM).any(axis=1).sum())
        self._peak = max(self._peak, peak)
        self._energy += _sum_squares(mono)
        self._n_frames += len(mono)

    def result(self) -> Quality:
        """Return the quality of all frames added so far."""
        if not self._n_frames:
            return SILENCE
        return Quality(
            rms_dbfs=_to_dbfs(math.sqrt(self._energy / self._n_frames)),
            peak_dbfs=_to_dbfs(self._peak),
            clipped_ratio=self._n_clipped / self._n_frames,
        )


def _sum_squares(mono: Samples) -> float:
    """Return the sum of squares, added in float32 within short rows and in float64 over rows."""
    whole = len(mono) // _ROW_SAMPLES * _ROW_SAMPLES
    rows = mono[:whole].reshape(-1, _ROW_SAMPLES)
    with np.errstate(over="ignore"):
        sums = np.einsum("ij,ij->i", rows, rows)
    energy = float(sums.sum(dtype=np.float64)) + float(
        np.square(mono[whole:], dtype=np.float64).sum()
    )
    # A float file may hold values of 1e30, whose squares overflow float32.
    if not math.isfinite(energy):
        energy = float(np.square(mono, dtype=np.float64).sum())
    return energy


def _to_dbfs(magnitude: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(magnitude)) if magnitude > 0 else FLOOR_DBFS
