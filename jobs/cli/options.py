"""Building blocks of command options, whose help and defaults come from `EmbedConfig`."""

from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from rich.console import Console

from jobs.settings.config import EmbedConfig
from jobs.settings.parsing import as_seconds
from models.archs import ARCHS

_PANELS = {
    "source_format": "Source",
    "arch": "Model",
    "long_clips": "Windows",
    "max_clip_s": "Clips",
    "tables": "Table",
    "shard_clips": "Where it runs",
}
"""Titles of the help's panels, by the first setting of each in the order of `EmbedConfig`."""
_METAVARS = {
    "arch": "NAME",
    "timestamps": "KIND",
    "actors": "N|auto",
    "address": "local|auto|URL",
    "weights": "SOURCE",
    "source_format": "FORMAT",
    "tables": "NAME,...",
    "outputs": "NAME,...",
    "retry": "CLASS,...",
    "include": "PATTERN,...",
    "exclude": "PATTERN,...",
    "columns": "NAME,...",
    "allow_hosts": "HOST,...",
    "keep_query": "NAME,...",
    "strip_query": "NAME,...",
    "audio_column": "NAME",
    "storage_options": "NAME=VALUE",
    "max_clip_bytes": "SIZE",
    "decoder_memory": "SIZE",
    "top_k": "N",
    "shard_clips": "N",
    "gpus_per_actor": "N",
    **dict.fromkeys(("window_s", "hop_s", "max_clip_s"), "SECONDS"),
    **dict.fromkeys(("actor_timeout_s", "store_timeout_s"), "SECONDS"),
    **dict.fromkeys(("max_error_ratio", "max_prune_ratio", "short_tolerance"), "RATIO"),
}


def option(field: str, flag: str, **kwargs: Any) -> Any:
    """Return the Typer option of a field of `EmbedConfig`.

    Args:
        field: Name of the field; its description and default make the help.
        flag: The option as it is typed; for a switch, with the negative form after a slash.
        kwargs: Further arguments of `typer.Option`.
    """
    info = EmbedConfig.model_fields[field]
    help_text = info.description or ""
    if info.annotation is not bool and info.default not in (None, ()):
        help_text += f" [default: {_default_text(field, info.default)}]"
    help_text = help_text.replace("[", "\\[")
    choices = list(ARCHS) if field == "arch" else _choices(info.annotation)
    if choices:
        kwargs["autocompletion"] = lambda incomplete: [
            choice for choice in choices if choice.startswith(incomplete)
        ]
    if field in _METAVARS or choices:
        kwargs.setdefault("metavar", _METAVARS.get(field) or "|".join(choices))
    return typer.Option(
        flag, help=help_text, rich_help_panel=_panel(field), show_default=False, **kwargs
    )


def positive_seconds(value: object) -> float:
    """Parse a length of time to seconds, for options of commands that read no config.

    Args:
        value: A number of seconds, or text with a unit, such as `500ms`; see `as_seconds`.

    Raises:
        typer.BadParameter: The value is not a length of time, or is not positive.
    """
    seconds = as_seconds(value)
    if not isinstance(seconds, int | float) or seconds <= 0:
        raise typer.BadParameter(
            f"must be a length of time, such as 500ms, 20s or 2min (got {value!r})"
        )
    return float(seconds)


def _panel(field: str) -> str:
    """Return the title of the help's panel to which a setting belongs."""
    title = ""
    for name in EmbedConfig.model_fields:
        title = _PANELS.get(name, title)
        if name == field:
            break
    return title


def is_list(annotation: Any) -> bool:
    """Return whether a setting is a list of names."""
    parts = (annotation, *get_args(annotation))
    bare = (get_args(part)[0] if get_origin(part) is Annotated else part for part in parts)
    return any(get_origin(part) is tuple for part in bare)


def _choices(annotation: Any) -> list[str]:
    """Return the values of a setting with a fixed set of choices; empty for other settings."""
    parts = [annotation, *get_args(annotation)]
    return [value for part in parts if get_origin(part) is Literal for value in get_args(part)]


def _default_text(field: str, default: Any) -> str:
    if field in ("max_clip_bytes", "decoder_memory"):
        return f"{default >> 30}GiB"
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


StorageOptions = Annotated[list[str] | None, option("storage_options", "--storage-options")]
StoreTimeout = Annotated[
    float, option("store_timeout_s", "--store-timeout-s", parser=positive_seconds)
]


def console(stream: Any, quiet: bool = False) -> Console:
    """Return a console that prints the text of commands unchanged."""
    # URIs contain brackets and numbers, which rich would take for markup or colour.
    return Console(file=stream, markup=False, highlight=False, soft_wrap=True, quiet=quiet)
