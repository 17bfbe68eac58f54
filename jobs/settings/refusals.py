"""Messages for invalid settings, in terms of the options and YAML keys that the user wrote.

A setting given as an option is named by its option (`--hop-s`), and a setting from a file by its
key (`hop_s`). Invalid values are explained without pydantic's terms.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jobs.settings.config import EmbedConfig
from pipeline.wording import nearest_name, unknown_name

_ARGUMENTS = {"sources": "SOURCE", "table": "TABLE"}
_SECRET = {"storage_options"}
"""Settings whose values may contain credentials, which messages must not repeat."""
_KINDS = {
    "float": "must be a number",
    "int": "must be a whole number",
    "bool": "must be true or false",
    "string": "must be a text",
    "tuple": "must be a list",
    "list": "must be a list",
    "finite": "must be a finite number",
    "missing": "must be given",
}
"""Requirements on a value, by the first word of pydantic's error type."""
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt"}
_BOUNDS |= {"less_than_equal": "le"}
_BOUND_TEXTS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def explain_problems(problems: Iterable[Mapping[str, Any]], in_file: Collection[str]) -> str:
    """Return one line that explains all problems of the settings.

    Args:
        problems: Problems as listed by pydantic's `ValidationError.errors`.
        in_file: Names of the settings that come from a file.
    """
    by_setting: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        by_setting.setdefault(str(problem["loc"][0]) if problem["loc"] else "", []).append(problem)
    return "; ".join(_explain(name, found, in_file) for name, found in by_setting.items())


def spell_settings(message: str, in_file: Collection[str]) -> str:
    """Return a message with its settings spelled as the user gave them.

    Args:
        message: Message that begins with a setting's name, or contains names with underscores.
        in_file: Names of the settings that come from a file.
    """

    def spell(match: re.Match[str]) -> str:
        name = match[0]
        is_setting = name in EmbedConfig.model_fields and (match.start() == 0 or "_" in name)
        return spell_setting(name, in_file) if is_setting else name

    return re.sub(r"(?<![-\w'])[a-z]+(?:_[a-z]+)*(?![-\w'])", spell, message)


def spell_setting(name: str, in_file: Collection[str]) -> str:
    """Return a setting's YAML key if it comes from a file, else its option or argument."""
    if name in in_file:
        return name
    return _ARGUMENTS.get(name) or f"--{name.replace('_', '-')}"


def _explain(name: str, problems: list[Mapping[str, Any]], in_file: Collection[str]) -> str:
    first = problems[0]
    if not name:
        return spell_settings(_value_error(first), in_file)
    if first["type"] == "extra_forbidden":
        return unknown_name("setting", name, EmbedConfig.model_fields)
    spelled = spell_setting(name, in_file)
    # pydantic lists a problem for each type of a union, such as `int | Literal["auto"]`.
    required = " or ".join(dict.fromkeys(_requirement(problem) for problem in problems))
    required = required.replace(" or must be", " or")
    if name in _SECRET:
        return f"{spelled} {required}"
    given = first["input"]
    return f"{spelled} {required} (got {given!r}){_suggestion(given, problems)}"


def _requirement(problem: Mapping[str, Any]) -> str:
    kind, context = str(problem["type"]), problem.get("ctx", {})
    if kind in _BOUNDS:
        bound = _BOUNDS[kind]
        return f"must be {_BOUND_TEXTS[bound]} {context[bound]:g}"
    if kind == "literal_error":
        choices = _choices(problem)
        return f"must be {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}"
    if kind == "value_error":
        return _value_error(problem)
    return _KINDS.get(kind.partition("_")[0], str(problem["msg"]))


def _value_error(problem: Mapping[str, Any]) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")


def _choices(problem: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))


def _suggestion(given: object, problems: list[Mapping[str, Any]]) -> str:
    choices = [each for p in problems if p["type"] == "literal_error" for each in _choices(p)]
    near = nearest_name(given, choices) if isinstance(given, str) else ""
    return f"; did you mean {near!r}?" if near else ""
