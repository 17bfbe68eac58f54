"""Text for the errors of clips."""

from collections.abc import Mapping

from pipeline.error_classes import ERROR_CLASSES


def error_text(row: Mapping[str, str]) -> str:
    """Return the message of an error row, with the clip's URI and member if it lacks the URI."""
    name = f"{row['uri']} {row['member']}" if row["member"] else row["uri"]
    return row["message"] if row["uri"] in row["message"] else f"{name}: {row['message']}"


def class_text(name: str, n: int) -> str:
    """Return the name of an error class with its number of errors and its meaning."""
    return f"{name} ({n:,}): {ERROR_CLASSES.get(name, 'A class of another version of passtream.')}"
