"""A YAML file of settings, read within bounds: a few lines of aliases can stand for gigabytes."""

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UsageError

MOST_BYTES = 1 << 20
"""Most bytes of a file, and most characters that its values may stand for."""
_MOST_VALUES = 100_000


def read_yaml(path: Path) -> Any:
    """Return what a YAML file of settings holds.

    Args:
        path: The file.

    Raises:
        UsageError: It cannot be read, is no YAML, or stands for too much. The message is one line
            and shows nothing of the file, which may hold secrets.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise _refused(path, f"has more than {MOST_BYTES >> 20} MiB, too much for settings")
        loaded = yaml.safe_load(content)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refused(path, f"is no YAML: {where}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        reason = (str(error).splitlines() or ["it has no text"])[0]
        raise _refused(path, f"is no YAML: {reason}") from error
    except RecursionError as error:
        raise _refused(path, "is nested too deeply") from error
    _check_size(loaded, path)
    return loaded


def _refused(path: Path, reason: str) -> UsageError:
    return UsageError(f"config {str(path)!r} {reason}")


def _check_size(loaded: object, path: Path) -> None:
    """Raise UsageError if the values stand for too much, as aliases of aliases do."""
    waiting = [loaded]
    n_values = n_characters = 0
    while waiting:
        value = waiting.pop()
        parts: list[object] = []
        if isinstance(value, dict):
            parts = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            parts = list(value)
        elif isinstance(value, str | bytes):
            n_characters += len(value)
        n_values += len(parts)
        if n_values > _MOST_VALUES or n_characters > MOST_BYTES:
            raise _refused(path, "stands for too much: its aliases (*name) repeat one another")
        waiting += parts
