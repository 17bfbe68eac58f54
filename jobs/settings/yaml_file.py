"""A reader of YAML settings with limits on size: a few lines of aliases can expand to gigabytes."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UsageError

MAX_BYTES = 1 << 20
"""Largest file in bytes, and the most characters that its values may expand to."""
_MAX_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file of settings.

    Args:
        path: The file.

    Raises:
        UsageError: The file cannot be read, is not YAML, or expands to too much. The message is one
            line and quotes nothing from the file, which may contain secrets.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _refusal(path, f"has more than {MAX_BYTES >> 20} MiB, too much for settings")
        loaded = yaml.safe_load(content)
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refusal(path, f"is no YAML: {where}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        reason = (str(error).splitlines() or ["it has no text"])[0]
        raise _refusal(path, f"is no YAML: {reason}") from error
    except RecursionError as error:
        raise _refusal(path, "is nested too deeply") from error
    _check_size(loaded, path)
    return loaded


def _refusal(path: Path, reason: str) -> UsageError:
    return UsageError(f"config {str(path)!r} {reason}")


def _check_size(loaded: object, path: Path) -> None:
    """Raise UsageError if aliases make the values expand to too much."""
    pending = [loaded]
    n_values = n_characters = 0
    while pending:
        value = pending.pop()
        parts: list[object] = []
        if isinstance(value, dict):
            parts = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            parts = list(value)
        elif isinstance(value, str | bytes):
            n_characters += len(value)
        n_values += len(parts)
        if n_values > _MAX_VALUES or n_characters > MAX_BYTES:
            raise _refusal(path, "expands to too much: its aliases (*name) refer to one another")
        pending += parts
