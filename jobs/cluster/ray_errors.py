"""Errors of a run on Ray, and their description in one line."""

import ray

from pipeline.errors import PipelineError


def describe_ray_error(error: ray.exceptions.RayError) -> str:
    """Return the cause of a Ray error in one line, without Ray's stack trace."""
    cause: BaseException | None = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    name = type(cause or error).__name__
    return lines[0] if isinstance(cause, PipelineError) else f"{name}: {lines[-1]}"


class DecodeDiedError(PipelineError):
    """Error of a shard whose decode process died, while its actor is alive.

    Args:
        reason: Cause of the death as reported by Ray.
        clip: Index in the shard of the clip that was being decoded; None if unknown.
    """

    def __init__(self, reason: str, clip: int | None) -> None:
        super().__init__(reason, clip)
        self.clip = clip

    def __str__(self) -> str:
        at = "" if self.clip is None else f" at clip {self.clip} of the shard"
        return f"the decoding process died{at} ({self.args[0]})"


class SupersededError(PipelineError):
    """Error of an attempt at a shard that another attempt has committed."""
