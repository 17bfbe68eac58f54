"""What can go wrong in `models`, each with a message that names the value and the way out.

ModelError (ValueError)
├── UnknownArchError      no such arch
├── WindowError           samples that this arch cannot take
├── FrontEndError         a spectrogram setting that is impossible or not the arch's
└── WeightsError          a state dict that cannot be read or does not belong to the arch
    └── WeightsUnavailableError   the published file is neither cached nor reachable
"""

from collections.abc import Sequence


class ModelError(ValueError):
    """Base of all errors that `models` raises for what a caller did."""


class UnknownArchError(ModelError):
    """The arch name is not in the registry."""


class WindowError(ModelError):
    """A window of audio that the arch cannot embed."""


class FrontEndError(ModelError):
    """A spectrogram setting that cannot be had, or that does not belong to the arch."""


class WeightsError(ModelError):
    """A state dict that cannot be read, or that does not belong to the arch."""


class WeightsUnavailableError(WeightsError):
    """A published checkpoint is neither in the cache nor to be had from its host.

    Args:
        reason: What is missing and why it cannot be fetched.
        ways_out: What to do instead, one short line each.
    """

    def __init__(self, reason: str, ways_out: Sequence[str]) -> None:
        super().__init__(reason, tuple(ways_out))
        self.reason = reason
        self.ways_out = tuple(ways_out)

    def __str__(self) -> str:
        return "; ".join((self.reason, *self.ways_out))


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
