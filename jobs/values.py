"""Settings as people write them, as options or in YAML, to the values that they stand for."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import BeforeValidator


def split_commas(text: str) -> tuple[str, ...]:
    """`a, b` as its parts; none of an empty text."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def as_names(value: object) -> object:
    """Names in one text, with commas between; a list of YAML stays one."""
    return split_commas(value) if isinstance(value, str) else value


def as_pairs(value: object) -> object:
    """One `NAME=VALUE` as all of them, and a mapping of YAML as pairs whose values are JSON."""
    if isinstance(value, Mapping):
        return tuple(f"{name}={json.dumps(each)}" for name, each in value.items())
    return (value,) if isinstance(value, str) else value


def with_always(always: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Adds what is written whether or not it is asked for, and drops what is said twice."""
    return lambda names: tuple(dict.fromkeys((always, *names)))


Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
