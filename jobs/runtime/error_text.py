"""Errors of clips as lines of text."""

from collections.abc import Mapping

from pipeline.error_classes import ERROR_CLASSES


def error_text(row: Mapping[str, str]) -> str:
    """Return what an error says, with the clip that it is about."""
    name = f"{row['uri']} {row['member']}" if row["member"] else row["uri"]
    return row["message"] if row["uri"] in row["message"] else f"{name}: {row['message']}"


def class_text(name: str, n: int) -> str:
    """Return a class of errors with its number and its meaning."""
    return f"{name} ({n:,}): {ERROR_CLASSES.get(name, 'A class of another version of passtream.')}"
