"""How fast one core decodes, as `passtream bench feed` measured it: by the ending of the files."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field


class CoreSpeed(BaseModel):
    """One measurement.

    Attributes:
        ending: of the files, as `.flac`.
        audio_s_per_core_s: seconds of audio that a second of processor time of one core makes
            windows of, from the file to what the model is given.
        measured_on: the processor, and what it decoded.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ending: str = Field(min_length=1)
    audio_s_per_core_s: float = Field(gt=0, allow_inf_nan=False)
    measured_on: str = ""


CoreSpeeds = Mapping[str, Sequence[CoreSpeed]]
"""By the core's name."""


def build_core_speeds(rates: Mapping[str, float], measured_on: str) -> list[CoreSpeed]:
    """Figures of what was measured.

    Args:
        rates: seconds of audio a second of processor time, by ending.
        measured_on: the processor, and what it decoded.
    """
    return [
        CoreSpeed(ending=ending, audio_s_per_core_s=float(f"{rate:.4g}"), measured_on=measured_on)
        for ending, rate in rates.items()
    ]
