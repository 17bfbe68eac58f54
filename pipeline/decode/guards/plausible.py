"""Refuses audio whose length does not fit its bytes or its sample rate, before it is decoded.

A compressed file of 231 bytes can declare twelve hours at 1 Hz, which would cost hours of a GPU and
say nothing. Both limits lie far below what any recorder or encoder writes.
"""

from pipeline.limits import MIN_BYTES_PER_S, MIN_SAMPLE_RATE_HZ

_FREE_S = 600.0
"""Audio up to this length is always taken: it costs little, and headers of tiny files weigh."""


def find_implausible(
    sample_rate_hz: int, n_frames: int | None, n_bytes: int
) -> tuple[str, str] | None:
    """Return the error class and message of audio that is not plausible, or None if it is.

    Args:
        sample_rate_hz: Sample rate of the recording.
        n_frames: Frames that the header declares, or that were decoded so far; None if unknown.
        n_bytes: Size of the file.
    """
    if sample_rate_hz < 1:
        return None  # a damaged header, which the resampler refuses
    if sample_rate_hz < MIN_SAMPLE_RATE_HZ:
        return (
            "sample_rate_too_low",
            f"has a sample rate of {sample_rate_hz} Hz, the lowest that is taken is "
            f"{MIN_SAMPLE_RATE_HZ} Hz; resample the recording, or leave it out",
        )
    duration_s = (n_frames or 0) / sample_rate_hz
    if duration_s > max(_FREE_S, n_bytes / MIN_BYTES_PER_S):
        return (
            "implausible_length",
            f"is {duration_s:.0f} s of audio in {n_bytes} bytes, less than the "
            f"{MIN_BYTES_PER_S} bytes a second that any recording takes; leave it out, or convert "
            "it to WAV",
        )
    return None
