"""The one sample rate of decoded audio, and the file extensions of audio files."""

SAMPLE_RATE_HZ = 32_000
"""Sample rate of all audio after decoding."""


def to_samples(duration_s: float) -> int:
    """Convert seconds to samples at 32 kHz, rounded to the nearest sample."""
    return round(duration_s * SAMPLE_RATE_HZ)


# fmt: off
AUDIO_ENDINGS = (
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".bw64", ".caf",
    ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".oga", ".ogg",
    ".opus", ".rf64", ".snd", ".sph", ".spx", ".tta", ".w64", ".wav", ".wave", ".webm", ".wma",
    ".wv",
)
