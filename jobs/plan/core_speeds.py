"""Decoding speed of a core by file ending, as measured by `passtream bench feed`."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field


class CoreSpeed(BaseModel):
    """Measured decoding speed of a core for one file ending.

    Attributes:
        ending: Ending of the files, such as `.flac`.
        audio_s_per_core_s: Seconds of audio that a core turns from files into windows per second
            of processor time.
        measured_on: Description of the processor and the files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ending: str = Field(min_length=1)
    audio_s_per_core_s: float = Field(gt=0, allow_inf_nan=False)
    measured_on: str = ""


CoreSpeeds = Mapping[str, Sequence[CoreSpeed]]
"""Measured speeds of cores, by the core's name."""


def build_core_speeds(rates: Mapping[str, float], measured_on: str) -> list[CoreSpeed]:
    """Build the measured speeds of a core, rounded to four digits.

    Args:
        rates: Seconds of audio per second of processor time, by ending.
        measured_on: Description of the processor and the files.
    """
    return [
        CoreSpeed(ending=ending, audio_s_per_core_s=float(f"{rate:.4g}"), measured_on=measured_on)
        for ending, rate in rates.items()
    ]
