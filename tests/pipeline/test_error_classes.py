"""Tests of `pipeline.error_classes`: it explains exactly the classes that the code raises."""

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
"""Classes that are raised through a constant or the result of a function."""


def test_raised_and_explained_classes_are_the_same():
    raised = {name for file in (ROOT / "pipeline").rglob("*.py") for name in _raised_classes(file)}
    assert raised | NOT_RAISED_BY_NAME == set(ERROR_CLASSES)


def test_explanation_is_a_sentence():
    for name, explanation in ERROR_CLASSES.items():
        assert explanation.endswith("."), name
        assert explanation[0].isupper() or explanation.startswith("passtream"), name


def _raised_classes(file: Path) -> Iterator[str]:
    """Yield the classes that a module passes as literals to the constructors of errors."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        index = {"ClipError": 1, "CannotDecodeError": 0, "_error": 0, "ClipFailed": 2}.get(name)
        if index is None or len(node.args) <= index:
            continue
        argument = node.args[index]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value
