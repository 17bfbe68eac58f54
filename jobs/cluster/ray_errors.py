"""What went wrong on Ray, for people."""

import ray

from pipeline.errors import PipelineError


def describe_ray_error(error: ray.exceptions.RayError) -> str:
    """What went wrong, in one line, without Ray's stack."""
    cause: BaseException | None = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    name = type(cause or error).__name__
    return lines[0] if isinstance(cause, PipelineError) else f"{name}: {lines[-1]}"


class DecodeDiedError(PipelineError):
    """The process that decoded a shard died; nobody else's did.

    Args:
        reason: as Ray tells it.
        clip: place in the shard of the clip that it was at, where that is known.
    """

    def __init__(self, reason: str, clip: int | None) -> None:
        super().__init__(reason, clip)
        self.clip = clip

    def __str__(self) -> str:
        at = "" if self.clip is None else f" at clip {self.clip} of the shard"
        return f"the decoding process died{at} ({self.args[0]})"


class SupersededError(PipelineError):
    """Another try of the shard was first."""
