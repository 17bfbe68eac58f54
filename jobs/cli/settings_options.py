"""Command options for settings, generated from the fields of `EmbedConfig`.

A command takes one mapping, `settings`. The decorator replaces this parameter by an option per
setting, with the type, help and default of the field. Typer reads the resulting signature.
"""

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, get_type_hints

from jobs.cli.options import is_list, option
from jobs.settings.config import EmbedConfig
from jobs.settings.parsing import join_names

_ARGUMENTS = ("sources", "table")
"""Settings that commands take as positional arguments."""
_NEGATIVES = {"no_local": "local", "new_spec": "one-spec", "in_process": "on-ray"}
"""Names of the negative form of switches, where it is not `--no-` and the name."""


def settings_options(
    *, without: Collection[str] = (), only: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option per setting.

    Args:
        without: Names of settings for which the command has no option.
        only: Names of the settings for which it has an option; empty for all settings.

    Raises:
        ValueError: A name is not the name of a setting.
    """
    known = EmbedConfig.model_fields
    if unknown := {*without, *only} - known.keys():
        raise ValueError(f"no settings: {sorted(unknown)}")
    selected = only or known.keys() - {*without, *_ARGUMENTS}
    names = [name for name in known if name in selected]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "settings"]
        parameters = [p.replace(annotation=hints[p.name]) for p in own]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters += [
            inspect.Parameter(name, kind, default=None, annotation=_annotation(name))
            for name in names
        ]

        def call(**given: Any) -> None:
            settings = {name: given.pop(name) for name in names}
            if not settings.get("storage_options"):
                settings["storage_options"] = None  # Typer passes an empty list if it is not given
            command(**given, settings=settings)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {p.name: p.annotation for p in parameters}
        return call

    return decorate


def _annotation(name: str) -> Any:
    """Return the annotation of an option, from which Typer builds it."""
    field = EmbedConfig.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        negative = _NEGATIVES.get(name, f"no-{flag.removeprefix('--')}")
        return Annotated[bool | None, option(name, f"{flag}/--{negative}")]
    if name == "storage_options":
        return Annotated[list[str] | None, option(name, flag)]  # values may contain commas
    if is_list(field.annotation):
        return Annotated[list[str] | None, option(name, flag, callback=join_names)]
    return Annotated[str | None, option(name, flag)]
