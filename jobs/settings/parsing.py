"""Settings as people write them, as options or in YAML, to the values that they stand for."""

import json
import math
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


def join_names(given: Sequence[str] | None) -> list[str] | None:
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


def as_list(value: object) -> object:
    """One text as a list of it; a path may hold commas."""
    return (value,) if isinstance(value, str) else value


_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*(?:([kmgt])(i?)b?|b|bytes?)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)\s*(ms|s|sec|min|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def as_bytes(value: object) -> object:
    """A size as `500MB` or `16GiB` in bytes; a plain number is bytes already."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    number, unit, binary = match.groups() if match else ("inf", "", "")
    power = " kmgt".index(unit.lower()) if unit else 0
    n_bytes = float(number) * (1024 if binary else 1000) ** power
    if not math.isfinite(n_bytes):
        raise ValueError("must be a size, as 2GiB, 500MB or 1000000")
    return round(n_bytes)


def as_seconds(value: object) -> object:
    """A length of time as `500ms`, `10s`, `5min` or `2h` in seconds; a plain number is seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        return value
    number, unit = match.groups()
    return float(number) * _SECONDS[unit.lower() if unit else "s"]


def with_always(always: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Adds what is written whether or not it is asked for, and drops what is said twice."""
    return lambda names: tuple(dict.fromkeys((always, *names)))


Bytes = Annotated[int, BeforeValidator(as_bytes)]
Seconds = Annotated[float, BeforeValidator(as_seconds)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
