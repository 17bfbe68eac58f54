"""The list of error classes and the code that raises them name the same classes."""

import ast
from collections.abc import Iterator
from pathlib import Path

from pipeline.error_classes import ERROR_CLASSES
from pipeline.io.http.server_faults import CLASSES

ROOT = Path(__file__).parents[2]
NOT_RAISED_BY_NAME = {
    *("poison", "internal", "implausible_length", "sample_rate_too_low"),
    *CLASSES,
}
"""Classes that a constant or a function's result names."""


def test_every_class_that_is_raised_is_explained_and_every_explained_one_is_raised():
    raised = {name for file in (ROOT / "pipeline").rglob("*.py") for name in _classes_in(file)}
    assert raised | NOT_RAISED_BY_NAME == set(ERROR_CLASSES)


def test_meanings_are_single_sentences():
    for name, meaning in ERROR_CLASSES.items():
        assert meaning.endswith("."), name
        assert meaning[0].isupper() or meaning.startswith("passtream"), name


def _classes_in(file: Path) -> Iterator[str]:
    """Yield the classes that a module gives to ClipError, CannotDecodeError or `_error`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        place = {"ClipError": 1, "CannotDecodeError": 0, "_error": 0, "ClipFailed": 2}.get(name)
        if place is None or len(node.args) <= place:
            continue
        argument = node.args[place]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
