"""Recordings in compressed formats, made by FFmpeg."""

import tempfile
from pathlib import Path

import av
import numpy as np


def encoded(
    pcm: np.ndarray,
    codec: str,
    container: str,
    rate_hz: int,
    bit_rate: int = 64_000,
    **options: str,
) -> bytes:
    """Return a mono recording that FFmpeg writes.

    Args:
        pcm: The samples, 16 bits each.
        codec: Name of FFmpeg's encoder.
        container: Name of FFmpeg's container.
        rate_hz: Sample rate.
        bit_rate: Bits per second; 0 for the encoder's own choice.
        options: Options of the container.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        _encode(path, pcm, codec, container, rate_hz, bit_rate, options)
        return path.read_bytes()


def _encode(
    path: Path,
    pcm: np.ndarray,
    codec: str,
    container: str,
    rate_hz: int,
    bit_rate: int,
    options: dict[str, str],
) -> None:
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        to_codec = av.AudioResampler(format=stream.codec_context.format, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for each in (*to_codec.resample(frame), None):
            for packet in stream.encode(each):
                output.mux(packet)
