"""What went wrong on Ray, for people."""

import ray

from pipeline.errors import PipelineError


def reason_of(error: ray.exceptions.RayError) -> str:
    """What went wrong, in one line, without Ray's stack."""
    cause: BaseException | None = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    name = type(cause or error).__name__
    return lines[0] if isinstance(cause, PipelineError) else f"{name}: {lines[-1]}"
