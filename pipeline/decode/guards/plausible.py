"""A check for audio whose length is implausible for its file size, or whose rate is too low.

It runs before decoding. A compressed file of 231 bytes can declare twelve hours at 1 Hz; embedding
it would take hours on a GPU for nothing. Both limits are far below what recorders and encoders
write.
"""

from pipeline.limits import MIN_BYTES_PER_S, MIN_SAMPLE_RATE_HZ

_ALWAYS_ACCEPTED_S = 600.0
"""Length in seconds up to which audio is always accepted.

Short audio costs little, and in tiny files the header takes a large share of the bytes.
"""


def find_implausible(
    sample_rate_hz: int, n_frames: int | None, n_bytes: int
) -> tuple[str, str] | None:
    """Return the error class and message for implausible audio, or None if it is plausible.

    Args:
        sample_rate_hz: Sample rate of the recording in Hz.
        n_frames: Number of frames that the header declares, or that were decoded so far; None if
            unknown.
        n_bytes: Size of the file in bytes.
    """
    if sample_rate_hz < 1:
        return None  # the resampler reports such a damaged header
    if sample_rate_hz < MIN_SAMPLE_RATE_HZ:
        return (
            "sample_rate_too_low",
            f"has a sample rate of {sample_rate_hz} Hz; the lowest accepted rate is "
            f"{MIN_SAMPLE_RATE_HZ} Hz; resample the recording, or leave it out",
        )
    duration_s = (n_frames or 0) / sample_rate_hz
    if duration_s > max(_ALWAYS_ACCEPTED_S, n_bytes / MIN_BYTES_PER_S):
        return (
            "implausible_length",
            f"is {duration_s:.0f} s of audio in {n_bytes} bytes, less than the "
            f"{MIN_BYTES_PER_S} bytes per second that any recording takes; leave it out, or "
            "convert it to WAV",
        )
    return None
