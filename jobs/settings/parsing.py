"""Validators that convert settings from the texts of options and YAML to typed values."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator


def split_commas(text: str) -> tuple[str, ...]:
    """Split a text such as `a, b` into its parts; an empty text has none."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def as_names(value: object) -> object:
    """Split a text at its commas; return any other value, such as a YAML list, unchanged."""
    return split_commas(value) if isinstance(value, str) else value


def join_names(given: Sequence[str] | None) -> list[str] | None:
    """Return all names of a repeatable option, or None if the option was not given.

    Args:
        given: Values of the option, each a list of names separated by commas. An empty text holds
            no names. None and an empty list mean that the option was not given.
    """
    return [name for text in given for name in split_commas(text)] if given else None


def as_pairs(value: object) -> object:
    """Convert a single `NAME=VALUE` or a YAML mapping to a tuple of pairs.

    The values of a mapping are written as JSON. Any other value is returned unchanged.
    """
    if isinstance(value, Mapping):
        return tuple(f"{name}={json.dumps(each)}" for name, each in value.items())
    return (value,) if isinstance(value, str) else value


def as_list(value: object) -> object:
    """Wrap a single text in a tuple without splitting it, as a path may contain commas."""
    return (value,) if isinstance(value, str) else value


_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*(?:([kmgt])(i?)b?|b|bytes?)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)\s*(ms|s|sec|min|m|h|d)?", re.IGNORECASE)
_SECONDS = {"ms": 1e-3, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def as_bytes(value: object) -> object:
    """Convert a size such as `500MB` or `16GiB` to bytes; a plain number is in bytes already.

    Raises:
        ValueError: The text is not a finite size.
    """
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
    """Convert a duration such as `500ms`, `5min` or `2h` to seconds.

    A plain number is in seconds already. A text that is not a duration is returned unchanged, for
    pydantic to refuse.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        return value
    number, unit = match.groups()
    return float(number) * _SECONDS[unit.lower() if unit else "s"]


def prepend_name(required: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Return a validator that puts a required name first and drops duplicate names."""
    return lambda names: tuple(dict.fromkeys((required, *names)))


Bytes = Annotated[int, BeforeValidator(as_bytes)]
Seconds = Annotated[float, BeforeValidator(as_seconds)]
Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
Tables = Annotated[
    tuple[Literal["clips", "windows", "timestamps"], ...],
    BeforeValidator(as_names),
    AfterValidator(prepend_name("clips")),
]
Outputs = Annotated[
    tuple[Literal["embedding", "logits", "labels"], ...],
    BeforeValidator(as_names),
    AfterValidator(prepend_name("embedding")),
]
