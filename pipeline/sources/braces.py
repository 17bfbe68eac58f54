"""Expands braces in names, as in `train-{000..127}.tar` or `{train,test}-0.tar` of WebDataset."""

import re
from collections.abc import Iterator

from pipeline.errors import UsageError

MAX_NAMES = 1_000_000
"""Most names that one pattern may stand for."""
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """Return all names that a pattern stands for, in the order of its braces.

    `{0..9}` is a range, which counts up or down. Its numbers are zero-padded if its first or last
    number is. `{a,b}` is a list. Ranges and lists may be repeated and nested. Other braces are
    literal.

    Raises:
        UsageError: The pattern stands for more than a million names.
    """
    names: list[str] = []
    for name in _expand(pattern):
        names.append(name)
        if len(names) > MAX_NAMES:
            raise UsageError(
                f"source {pattern!r}: stands for more than {MAX_NAMES:,} names; name fewer, or "
                "a folder"
            )
    return names


def _expand(pattern: str) -> Iterator[str]:
    for start, end in _pairs(pattern):
        choices = _choices(pattern[start + 1 : end])
        if choices is None:
            continue
        for choice in choices:
            for head in _expand(choice):
                # The text before this pair is literal, as this is the first pair with choices.
                for tail in _expand(pattern[end + 1 :]):
                    yield pattern[:start] + head + tail
        return
    yield pattern


def _pairs(pattern: str) -> Iterator[tuple[int, int]]:
    """Yield the indices of each matching pair of braces, in the order of the opening ones."""
    openings: list[int] = []
    pairs = []
    for index, character in enumerate(pattern):
        if character == "{":
            openings.append(index)
        elif character == "}" and openings:
            pairs.append((openings.pop(), index))
    yield from sorted(pairs)


def _choices(inside: str) -> Iterator[str] | None:
    """Return the choices inside a pair of braces; None if the braces are literal."""
    if numbers := _RANGE.fullmatch(inside):
        return _number_range(*numbers.groups())
    parts, depth = [""], 0
    for character in inside:
        depth += (character == "{") - (character == "}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return iter(parts) if len(parts) > 1 else None


def _number_range(first: str, last: str) -> Iterator[str]:
    is_padded = any(end != str(int(end)) for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    return (str(n).zfill(width) for n in range(int(first), int(last) + step, step))
