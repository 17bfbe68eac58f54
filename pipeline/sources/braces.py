"""Names with braces, as WebDatasets are named: `train-{000..127}.tar`, `{train,test}-0.tar`."""

import re
from collections.abc import Iterator

from pipeline.errors import UsageError

MOST_NAMES = 1_000_000
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """All names that a pattern stands for, in its order.

    Ranges count up or down and are zero-padded where either end is, lists are split at their
    commas, and both may come several times and inside one another. Other braces stand for
    themselves.

    Raises:
        UsageError: it stands for more than a million names.
    """
    names: list[str] = []
    for name in _expanded(pattern):
        names.append(name)
        if len(names) > MOST_NAMES:
            raise UsageError(
                f"source {pattern!r}: stands for more than {MOST_NAMES:,} names; name fewer, or "
                "a folder"
            )
    return names


def _expanded(pattern: str) -> Iterator[str]:
    for start, end in _pairs(pattern):
        choices = _choices(pattern[start + 1 : end])
        if choices is None:
            continue
        for choice in choices:
            for head in _expanded(choice):
                # What stands before is literal, or this would not be the first pair with choices.
                for tail in _expanded(pattern[end + 1 :]):
                    yield pattern[:start] + head + tail
        return
    yield pattern


def _pairs(pattern: str) -> Iterator[tuple[int, int]]:
    """Where braces open and close, in the order of their opening."""
    opened: list[int] = []
    pairs = []
    for at, character in enumerate(pattern):
        if character == "{":
            opened.append(at)
        elif character == "}" and opened:
            pairs.append((opened.pop(), at))
    yield from sorted(pairs)


def _choices(inside: str) -> Iterator[str] | None:
    """What a pair of braces stands for; None where it is literal."""
    if numbers := _RANGE.fullmatch(inside):
        return _counted(*numbers.groups())
    parts, depth = [""], 0
    for character in inside:
        depth += (character == "{") - (character == "}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return iter(parts) if len(parts) > 1 else None


def _counted(first: str, last: str) -> Iterator[str]:
    is_padded = any(end != str(int(end)) for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    return (str(n).zfill(width) for n in range(int(first), int(last) + step, step))
