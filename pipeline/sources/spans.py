"""A part of a recording, from two settings in seconds to the member that names it."""

import math

from pipeline.errors import UsageError
from pipeline.wording import brief

Span = tuple[float, float]
_OWN_NAMES = ("start_s", "end_s")


def span_of(
    start_s: object, end_s: object, start_name: str = "start_s", end_name: str = "end_s"
) -> tuple[str, Span | None]:
    """The member and the span of a part of a recording.

    A missing start is 0 and a missing end is that of the recording; from 0 without an end is the
    whole recording, which has neither. The member is `t=START,END` (`t=START,` without an end) with
    the shortest digits that give the same number back, so 1, 1.0 and "1.00" name one clip.

    Args:
        start_s: in seconds, a number or its text; None for the start of the recording.
        end_s: as `start_s`; None for the end of the recording.
        start_name: Name of the start in messages.
        end_name: Name of the end in messages.

    Raises:
        UsageError: one is no number, negative or not finite, or the end is not behind the start.
    """
    start = 0.0 if start_s is None else _seconds(start_name, start_s)
    if end_s is None:
        return (f"t={start!r},", (start, math.inf)) if start else ("", None)
    end = _seconds(end_name, end_s)
    if end <= start:
        raise UsageError(
            f"{end_name} must be more than {start_name or 'the start'} {start!r} "
            f"(got {brief(end_s)})"
        )
    return f"t={start!r},{end!r}", (start, end)


def span_of_duration(
    start_s: object, duration_s: object, start_name: str, duration_name: str
) -> tuple[str, Span | None]:
    """Return the member and the span of a part of a recording that has a start and a duration.

    Args:
        start_s: Start in seconds, as of `span_of`.
        duration_s: Duration in seconds, a number or its text; None up to the recording's end.
        start_name: Name of the start in messages.
        duration_name: Name of the duration in messages.

    Raises:
        UsageError: One is no number, negative or not finite, or the duration is 0.
    """
    if duration_s is None:
        return span_of(start_s, None, start_name)
    start = 0.0 if start_s is None else _seconds(start_name, start_s)
    duration = _seconds(duration_name, duration_s)
    if not duration:
        raise UsageError(f"{duration_name} must be more than 0 (got {brief(duration_s)})")
    # Without what binary fractions add: 0.1 and 0.2 end at 0.3.
    return span_of(start, round(start + duration, 9), start_name, duration_name)


def _seconds(name: str, value: object) -> float:
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    try:
        # Python reads 1_0 as 10, which no other reader of the manifest does.
        seconds = float(value) if is_number and "_" not in str(value) else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        way_out = "" if name in _OWN_NAMES else "; rename the column if it means something else"
        raise UsageError(f"{name} must be seconds, 0 or more (got {brief(value)}){way_out}")
    return seconds + 0.0  # -0.0 is 0.0
