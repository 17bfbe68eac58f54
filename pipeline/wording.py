"""Numbers and names in messages: plurals, durations, and suggestions for mistyped names."""

import difflib
import reprlib
from collections.abc import Iterable

_SHORT_REPR = reprlib.Repr()


def brief(value: object, most: int = 80) -> str:
    """Return the repr of a value, truncated, for a message about invalid input.

    Args:
        value: Value that a user or a file gave.
        most: Maximum number of characters.
    """
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    elif not isinstance(value, int | float | None):
        value = _SHORT_REPR.repr(value)
        return value if len(value) <= most else f"{value[:most]}..."
    shown = repr(value)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def brief_list(names: Iterable[str], most: int = 20) -> str:
    """Return names joined by commas, truncated after `most` names; `none` if there are none.

    Args:
        names: Names, for instance of columns.
        most: Maximum number of names.
    """
    listed = list(names)
    shown = [name if len(name) <= 80 else f"{name[:80]}..." for name in listed[:most]]
    more = f", ... ({len(listed):,} in all)" if len(listed) > most else ""
    return ", ".join(shown) + more if listed else "none"


def count(n: float, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 clip`, `2 clips`, `1,234 clips`.

    Args:
        n: Number, rounded to an integer for display.
        noun: Singular form.
        plural: Plural form, if it is not the noun with an s.
    """
    shown = f"{n:,.0f}"
    return f"{shown} {noun if shown == '1' else plural or noun + 's'}"


def duration_text(seconds: float) -> str:
    """Return a duration in text, to the second, or to the minute from one hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def about_text(seconds: float) -> str:
    """Return an estimated duration in text, rounded more coarsely the longer it is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return (
        f"{minutes // 60:,} h {minutes % 60:02} min" if minutes < 6000 else f"{minutes // 60:,} h"
    )


def time_text(seconds: float) -> str:
    """Return a duration in a single unit: seconds, minutes from 2 min on, or hours from 2 h on.

    It is used for lengths of audio, and for sums and estimates of times.
    """
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    if seconds < 7197:
        return f"{seconds / 60:.1f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 99.95 else f"{hours:,.0f} h"


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name closest to a mistyped name, or an empty text if none is close.

    Args:
        name: Name as the user wrote it.
        known: Names that exist.
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else ""


def unknown_name(what: str, name: str, known: Iterable[str], plural: str = "") -> str:
    """Return the message for an unknown name, with the closest known name and all known names.

    Args:
        what: Kind of thing that the name stands for, such as `class` or `setting`.
        name: Name as the user wrote it.
        known: Names that exist.
        plural: Plural form of `what`, if it is not `what` with an s.
    """
    known = list(known)
    near = nearest_name(name, known)
    start = f"did you mean {near!r}? The" if near else "the"
    return f"unknown {what} {name!r}; {start} {plural or what + 's'} are: {', '.join(known)}"
