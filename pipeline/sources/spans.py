"""Parses the start and end of a part of a recording, and names the part."""

import math

from pipeline.errors import UsageError
from pipeline.wording import brief

Span = tuple[float, float]
"""Start and end of a part of a recording, in seconds; the end may be infinite."""
_OWN_NAMES = ("start_s", "end_s")


def parse_span(
    start_s: object, end_s: object, start_name: str = "start_s", end_name: str = "end_s"
) -> tuple[str, Span | None]:
    """Return the member and the span of a part of a recording that has a start and an end.

    The member is `t=START,END`, or `t=START,` without an end. Its numbers have the shortest digits
    that give the same number back, so 1, 1.0 and "1.00" name the same clip. A part that starts at 0
    and has no end is the whole recording: its member is empty and its span is None.

    Args:
        start_s: Start in seconds, a number or its text; None for the start of the recording.
        end_s: End in seconds, a number or its text; None for the end of the recording.
        start_name: Name of the start in messages.
        end_name: Name of the end in messages.

    Raises:
        UsageError: The start or the end is not a number, is negative or is not finite, or the end
            is not after the start.
    """
    start = 0.0 if start_s is None else _parse_seconds(start_name, start_s)
    if end_s is None:
        return (f"t={start!r},", (start, math.inf)) if start else ("", None)
    end = _parse_seconds(end_name, end_s)
    if end <= start:
        raise UsageError(
            f"{end_name} must be more than {start_name or 'the start'} {start!r} "
            f"(got {brief(end_s)})"
        )
    return f"t={start!r},{end!r}", (start, end)


def parse_duration_span(
    start_s: object, duration_s: object, start_name: str, duration_name: str
) -> tuple[str, Span | None]:
    """Return the member and the span of a part of a recording that has a start and a duration.

    Args:
        start_s: Start in seconds, a number or its text; None for the start of the recording.
        duration_s: Duration in seconds, a number or its text; None for the rest of the recording.
        start_name: Name of the start in messages.
        duration_name: Name of the duration in messages.

    Raises:
        UsageError: The start or the duration is not a number, is negative or is not finite, or the
            duration is 0.
    """
    if duration_s is None:
        return parse_span(start_s, None, start_name)
    start = 0.0 if start_s is None else _parse_seconds(start_name, start_s)
    duration = _parse_seconds(duration_name, duration_s)
    if not duration:
        raise UsageError(f"{duration_name} must be more than 0 (got {brief(duration_s)})")
    # Rounding removes the error of binary fractions: 0.1 and a duration of 0.2 end at 0.3.
    return parse_span(start, round(start + duration, 9), start_name, duration_name)


def _parse_seconds(name: str, value: object) -> float:
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    try:
        # Python reads 1_0 as 10; other programs that read the manifest do not.
        seconds = float(value) if is_number and "_" not in str(value) else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        advice = "" if name in _OWN_NAMES else "; rename the column if it means something else"
        raise UsageError(f"{name} must be seconds, 0 or more (got {brief(value)}){advice}")
    return seconds + 0.0  # -0.0 becomes 0.0, which is written as the same member
