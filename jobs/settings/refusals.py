"""What is wrong with the settings of a run, in the words of whoever gave them.

A setting given as an option is called by its option (`--hop-s`), one from a file as it stands there
(`hop_s`). A value of the wrong kind is explained without the terms of the library that checks it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jobs.settings.config import EmbedConfig
from pipeline.wording import nearest_name, unknown_name

_ARGUMENTS = {"sources": "SOURCE", "table": "TABLE"}
_SECRET = {"storage_options"}
"""Settings whose values may hold credentials and are not repeated."""
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
"""What a value must be, by the first word of the kind of problem."""
_BOUNDS = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt"}
_BOUNDS |= {"less_than_equal": "le"}
_BOUND_TEXTS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}


def explain_problems(problems: Iterable[Mapping[str, Any]], in_file: Collection[str]) -> str:
    """Return one line about everything that is wrong with the settings.

    Args:
        problems: Problems as pydantic lists them.
        in_file: Names of the settings that come from a file.
    """
    by_setting: dict[str, list[Mapping[str, Any]]] = {}
    for problem in problems:
        by_setting.setdefault(str(problem["loc"][0]) if problem["loc"] else "", []).append(problem)
    return "; ".join(_explain(name, found, in_file) for name, found in by_setting.items())


def spell_settings(message: str, in_file: Collection[str]) -> str:
    """Return a message in which settings are called as they were given.

    Args:
        message: Message that begins with the name of a setting, or names some with underscores.
        in_file: Names of the settings that come from a file.
    """

    def spell(match: re.Match[str]) -> str:
        name = match[0]
        is_setting = name in EmbedConfig.model_fields and (match.start() == 0 or "_" in name)
        return spell_setting(name, in_file) if is_setting else name

    return re.sub(r"(?<![-\w'])[a-z]+(?:_[a-z]+)*(?![-\w'])", spell, message)


def spell_setting(name: str, in_file: Collection[str]) -> str:
    """Return the name of a setting as it was given, or would be given on the command line."""
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
    # A setting of several kinds has a problem with each of them.
    wanted = " or ".join(dict.fromkeys(_wanted(problem) for problem in problems))
    wanted = wanted.replace(" or must be", " or")
    if name in _SECRET:
        return f"{spelled} {wanted}"
    given = first["input"]
    return f"{spelled} {wanted} (got {given!r}){_suggestion(given, problems)}"


def _wanted(problem: Mapping[str, Any]) -> str:
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
