"""Numbers and names in messages: plurals, durations, the known name nearest to a mistyped one."""

import difflib
from collections.abc import Iterable


def count(n: float, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 clip`, `2 clips`, `1,234 clips`.

    Args:
        n: Number of things; shown without decimals.
        noun: Singular form.
        plural: Plural form where it is not the noun with an s.
    """
    shown = f"{n:,.0f}"
    return f"{shown} {noun if shown == '1' else plural or noun + 's'}"


def duration_text(seconds: float) -> str:
    """Return a length of time, to the second or, from an hour on, to the minute."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or an empty text.

    Args:
        name: Name as a person wrote it.
        known: Names that exist.
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
