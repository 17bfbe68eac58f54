"""A part of a recording, from two settings in seconds to the member that names it."""

import math

from pipeline.errors import UsageError

Span = tuple[float, float]


def span_of(start_s: object, end_s: object) -> tuple[str, Span | None]:
    """The member and the span of a part of a recording.

    A missing start is 0 and a missing end is that of the recording; from 0 without an end is the
    whole recording, which has neither. The member is `t=START,END` (`t=START,` without an end) with
    the shortest digits that give the same number back, so 1, 1.0 and "1.00" name one clip.

    Args:
        start_s: in seconds, a number or its text; None for the start of the recording.
        end_s: as `start_s`; None for the end of the recording.

    Raises:
        UsageError: one is no number, negative or not finite, or the end is not behind the start.
    """
    start = 0.0 if start_s is None else _seconds("start_s", start_s)
    if end_s is None:
        return (f"t={start!r},", (start, math.inf)) if start else ("", None)
    end = _seconds("end_s", end_s)
    if end <= start:
        raise UsageError(f"end_s must be more than start_s {start!r} (got {end_s!r})")
    return f"t={start!r},{end!r}", (start, end)


def _seconds(name: str, value: object) -> float:
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    try:
        # Python reads 1_0 as 10, which no other reader of the manifest does.
        seconds = float(value) if is_number and "_" not in str(value) else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageError(f"{name} must be seconds, 0 or more (got {value!r})")
    return seconds + 0.0  # -0.0 is 0.0
