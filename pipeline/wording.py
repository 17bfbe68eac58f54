"""Numbers and names in messages: plurals, durations, the known name nearest to a mistyped one."""

import difflib
import reprlib
from collections.abc import Iterable

_REPR = reprlib.Repr()


def brief(value: object, most: int = 80) -> str:
    """Return a value as Python writes it, cut where it is long: what a message says was given.

    Args:
        value: Value that a person or a file gave.
        most: Number of characters to show.
    """
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    elif not isinstance(value, int | float | None):
        value = _REPR.repr(value)
        return value if len(value) <= most else f"{value[:most]}..."
    shown = repr(value)
    return shown if len(shown) <= most else f"{shown[:most]}..."


def brief_list(names: Iterable[str], most: int = 20) -> str:
    """Return names with commas between, cut where there are many; `none` for none.

    Args:
        names: Names, as those of columns.
        most: Number of names to show.
    """
    listed = list(names)
    shown = [name if len(name) <= 80 else f"{name[:80]}..." for name in listed[:most]]
    more = f", ... ({len(listed):,} in all)" if len(listed) > most else ""
    return ", ".join(shown) + more if listed else "none"


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


def about_text(seconds: float) -> str:
    """Return an estimated length of time: seconds below 90 s, then minutes, then hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return (
        f"{minutes // 60:,} h {minutes % 60:02} min" if minutes < 6000 else f"{minutes // 60:,} h"
    )


def time_text(seconds: float) -> str:
    """Return a length in one unit: seconds up to two minutes, minutes up to two hours, then hours.

    For lengths of audio, and for times that are added up or estimated.
    """
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    if seconds < 7197:
        return f"{seconds / 60:.1f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 99.95 else f"{hours:,.0f} h"


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to a mistyped one; empty where none is near.

    Args:
        name: Name as a person wrote it.
        known: Names that exist.
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else ""


def unknown_name(what: str, name: str, known: Iterable[str], plural: str = "") -> str:
    """Return the message for a name that does not exist, with the nearest one and all of them.

    Args:
        what: What the name is of: `class`, `setting`.
        name: Name as a person wrote it.
        known: Names that exist.
        plural: Plural form of `what` where it is not `what` with an s.
    """
    known = list(known)
    near = nearest_name(name, known)
    start = f"did you mean {near!r}? The" if near else "the"
    return f"unknown {what} {name!r}; {start} {plural or what + 's'} are: {', '.join(known)}"
