"""The errors that `models` raises; each message names the value and what to do instead.

ModelError (ValueError)
├── UnknownArchError      the name of an arch is unknown
├── WindowError           the arch cannot embed this audio
├── FrontEndError         a spectrogram setting is impossible or does not match the arch
└── WeightsError          a state dict cannot be read or does not belong to the arch
    └── WeightsUnavailableError   a published checkpoint is not available on this machine
"""

from collections.abc import Sequence


class ModelError(ValueError):
    """Base class of the errors that `models` raises for wrong input or settings."""


class UnknownArchError(ModelError):
    """An arch name that is neither in `ARCHS` nor in `ALIASES`."""


class WindowError(ModelError):
    """Audio that the arch cannot embed: wrong shape, type, rate, values or length."""


class FrontEndError(ModelError):
    """A spectrogram setting that is impossible or does not match the arch."""


class WeightsError(ModelError):
    """A state dict that cannot be read or does not belong to the arch."""


class WeightsUnavailableError(WeightsError):
    """A published checkpoint that is not in the model store, or not cached and not downloadable.

    Args:
        reason: The missing file and why it cannot be fetched.
        ways_out: Alternatives for the user, one short line each.
    """

    def __init__(self, reason: str, ways_out: Sequence[str]) -> None:
        super().__init__(reason, tuple(ways_out))
        self.reason = reason
        self.ways_out = tuple(ways_out)

    def __str__(self) -> str:
        return "; ".join((self.reason, *self.ways_out))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
