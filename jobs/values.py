"""Settings as people write them, as options or in YAML, to the values that they stand for."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator


def split_commas(text: str) -> tuple[str, ...]:
    """`a, b` as its parts; none of an empty text."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def as_names(value: object) -> object:
    """Names in one text, with commas between; a list of YAML stays one."""
    return split_commas(value) if isinstance(value, str) else value


def added_up(given: Sequence[str] | None) -> list[str] | None:
    """Return all names of an option that was given any number of times.

    Args:
        given: Texts of the option, each with commas between its names; an empty text has none.
            None and an empty list stand for an option that was not given.
    """
    return [name for text in given for name in split_commas(text)] if given else None


def as_pairs(value: object) -> object:
    """One `NAME=VALUE` as all of them, and a mapping of YAML as pairs whose values are JSON."""
    if isinstance(value, Mapping):
        return tuple(f"{name}={json.dumps(each)}" for name, each in value.items())
    return (value,) if isinstance(value, str) else value


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def as_bytes(value: object) -> object:
    """Return the number of bytes that a size such as `2GiB`, `500 MB` or `1e9` stands for.

    Raises:
        ValueError: The text is no size.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", value.lower())
    units = _UNITS | _BINARY_UNITS
    try:
        assert found
        return int(float(found[1]) * units[found[2]])
    except (AssertionError, KeyError, ValueError) as error:
        raise ValueError(f"must be a size, as 2GiB, 500MB or 1000000 (got {value!r})") from error


def with_always(always: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Adds what is written whether or not it is asked for, and drops what is said twice."""
    return lambda names: tuple(dict.fromkeys((always, *names)))


Bytes = Annotated[int, BeforeValidator(as_bytes)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
