"""Damaged and unusual recordings, made by code, each with what is right to make of it.

`test_plan_and_embed_agree` runs over all of them. To add one, write a function that returns the
bytes of the file, and decorate it with `damaged`: the name of the file, and what is right.
Modules of other formats add theirs in the same way; `all_damaged` imports them.
"""

import dataclasses
import functools
import importlib
import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile

RATE_HZ = 16_000
DURATION_S = 3.0
_MODULES: tuple[str, ...] = (
    "tests.pipeline.decode.damaged_flac",
    "tests.pipeline.decode.damaged_mp3",
    "tests.pipeline.decode.damaged_pcm",
    "tests.pipeline.decode.damaged_containers",
    "tests.pipeline.decode.damaged_bare",
    "tests.pipeline.decode.damaged_ogg",
)
"""Further modules with damaged audio, for example `tests.pipeline.decode.damaged_ogg`."""


@dataclass(frozen=True)
class DamagedAudio:
    """A file, and what is right to make of it.

    Attributes:
        name: Name of the file, which is also the id of its test.
        content: Builds the bytes.
        duration_s: Seconds that are embedded; None where the file ends in an error.
        error: Class of the error; empty where the file is embedded.
        decoded_short: Whether the clip is marked as `decoded_short`.
        within_s: Most seconds that the duration may differ by.
        span: Start and end in seconds of the part that is embedded; None for the whole file.
        plan_error: Class of the error that the plan predicts, where only decoding shows the truth
            and the two may differ; say in a comment why.
    """

    name: str
    content: Callable[[], bytes]
    duration_s: float | None = None
    error: str = ""
    decoded_short: bool = False
    within_s: float = 1e-6
    span: tuple[float, float] | None = None
    plan_error: str | None = None


_ALL: list[DamagedAudio] = []
Build = Callable[[], bytes]


def damaged(name: str, **right: object) -> Callable[[Build], Build]:
    """Add the file that a function builds to the table.

    Args:
        name: Name of the file.
        right: The other attributes of `DamagedAudio`.
    """

    def add(build: Build) -> Build:
        _ALL.append(dataclasses.replace(DamagedAudio(name, functools.cache(build)), **right))
        return build

    return add


def all_damaged() -> list[DamagedAudio]:
    """Return all files of the table."""
    for module in _MODULES:
        importlib.import_module(module)
    assert len({each.name for each in _ALL}) == len(_ALL)
    return list(_ALL)


@functools.cache
def sound(duration_s: float = DURATION_S, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """Return 16-bit mono noise that swells, as speech does."""
    n = round(duration_s * rate_hz)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, n)
    swell = 0.55 + 0.45 * np.sin(np.arange(n) * 9 / rate_hz)
    return (32_767 * noise * swell).astype(np.int16)


def by_libsndfile(pcm: np.ndarray, subtype: str = "PCM_16", **options: str) -> bytes:
    """Return a recording that libsndfile writes.

    Args:
        pcm: The samples.
        subtype: The codec.
        options: The container, as `soundfile.write` takes it.
    """
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE_HZ, subtype, **options)
    return file.getvalue()


def wav(body: bytes, size: int | None = None) -> bytes:
    """Return a 16-bit mono WAV.

    Args:
        body: Everything after the header of the data chunk.
        size: Size that the data chunk declares; None for the right one.
    """
    size = len(body) if size is None else size
    riff_size = min(0xFFFF_FFFF, 36 + size)
    return (
        struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
        + struct.pack("<4sI", b"data", size)
        + body
    )


@damaged("sound.wav", duration_s=3.0)
def sound_wav() -> bytes:
    return wav(sound().tobytes())


@damaged("to-a-pipe.wav", duration_s=3.0)
def wav_written_to_a_pipe() -> bytes:
    return wav(sound().tobytes(), 0xFFFF_FFFF)


@damaged("cut.wav", error="truncated")
def cut_wav() -> bytes:
    return wav(sound().tobytes())[:48_044]


@damaged("cut-a-little.wav", duration_s=2.99, decoded_short=True)
def wav_cut_by_a_few_milliseconds() -> bytes:
    return wav(sound().tobytes())[:-320]


@damaged("cut.aiff", error="truncated")
def cut_aiff() -> bytes:
    return by_libsndfile(sound(), format="AIFF")[:48_054]


@damaged("part-behind-the-end.wav", error="empty_span", span=(3.0, 4.0))
def wav_for_a_span_behind_its_end() -> bytes:
    return wav(sound().tobytes())


@damaged("part-over-the-end.wav", error="span_past_end", span=(2.5, 3.5))
def wav_for_a_span_of_which_half_is_there() -> bytes:
    return wav(sound().tobytes())


@damaged("part-a-little-over-the-end.wav", duration_s=2.0, decoded_short=True, span=(1.0, 3.01))
def wav_for_a_span_that_ends_a_hundredth_of_a_second_too_late() -> bytes:
    return wav(sound().tobytes())


@damaged("part-to-a-rounded-end.wav", duration_s=2.0, span=(1.0, 3.004))
def wav_for_a_span_whose_end_was_rounded() -> bytes:
    return wav(sound().tobytes())


@damaged("part-to-any-end.wav", duration_s=2.0, span=(1.0, math.inf))
def wav_for_a_span_without_an_end() -> bytes:
    return wav(sound().tobytes())


@damaged("part-over-the-end.flac", error="span_past_end", span=(2.5, 3.5))
def flac_for_a_span_of_which_half_is_there() -> bytes:
    return by_libsndfile(sound(), format="FLAC")


@damaged("part-over-the-end-of-a-cut-one.wav", error="truncated", span=(1.0, 2.5))
def cut_wav_for_a_span_of_which_half_is_there() -> bytes:
    return wav(sound().tobytes())[:48_044]
