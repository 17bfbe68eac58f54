"""Options of the commands: help and defaults are those of the settings that they set."""

from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from rich.console import Console

from jobs.settings.config import EmbedConfig
from jobs.settings.parsing import added_up, as_seconds
from models.archs import ARCHS

SOURCE, MODEL, WINDOWS, CLIPS = "Source", "Model", "Windows", "Clips"
OUTPUT, RUN = "Table", "Where it runs"
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


def option(field: str, flag: str, panel: str, **kwargs: Any) -> Any:
    """An option whose help and default are those of the settings field."""
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
    return typer.Option(flag, help=help_text, rich_help_panel=panel, show_default=False, **kwargs)


def positive_seconds(value: object) -> float:
    """Return a length of time in seconds, for options that are no settings.

    Args:
        value: As `as_seconds` takes it.

    Raises:
        typer.BadParameter: It is none, or not positive.
    """
    seconds = as_seconds(value)
    if not isinstance(seconds, int | float) or seconds <= 0:
        raise typer.BadParameter(f"must be a length of time, as 500ms, 20s or 2min (got {value!r})")
    return float(seconds)


def names_option(field: str, flag: str, panel: str) -> Any:
    """An option of names with commas between, which may be repeated: all that is given counts."""
    return option(field, flag, panel, callback=added_up)


def _choices(annotation: Any) -> list[str]:
    """The values of a setting that takes one of a few; empty for others."""
    parts = [annotation, *get_args(annotation)]
    return [value for part in parts if get_origin(part) is Literal for value in get_args(part)]


def _default_text(field: str, default: Any) -> str:
    if field in ("max_clip_bytes", "decoder_memory"):
        return f"{default >> 30}GiB"
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


SourceFormat = Annotated[str | None, option("source_format", "--source-format", SOURCE)]
Include = Annotated[list[str] | None, names_option("include", "--include", SOURCE)]
Exclude = Annotated[list[str] | None, names_option("exclude", "--exclude", SOURCE)]
Columns = Annotated[list[str] | None, names_option("columns", "--columns", SOURCE)]
FollowLinks = Annotated[
    bool | None, option("follow_links", "--follow-links/--no-follow-links", SOURCE)
]
AudioColumn = Annotated[str | None, option("audio_column", "--audio-column", SOURCE)]
AllowHosts = Annotated[str | None, option("allow_hosts", "--allow-hosts", SOURCE)]
NoLocal = Annotated[bool | None, option("no_local", "--no-local/--local", SOURCE)]
KeepQuery = Annotated[str | None, option("keep_query", "--keep-query", SOURCE)]
StripQuery = Annotated[str | None, option("strip_query", "--strip-query", SOURCE)]
Arch = Annotated[str | None, option("arch", "--arch", MODEL)]
Precision = Annotated[str | None, option("precision", "--precision", MODEL)]
LongClips = Annotated[str | None, option("long_clips", "--long-clips", WINDOWS)]
WindowS = Annotated[str | None, option("window_s", "--window-s", WINDOWS)]
HopS = Annotated[str | None, option("hop_s", "--hop-s", WINDOWS)]
Padding = Annotated[str | None, option("padding", "--padding", WINDOWS)]
PadShort = Annotated[bool | None, option("pad_short", "--pad-short/--no-pad-short", WINDOWS)]
MaxClipS = Annotated[str | None, option("max_clip_s", "--max-clip-s", CLIPS)]
MaxClipBytes = Annotated[str | None, option("max_clip_bytes", "--max-clip-bytes", CLIPS)]
DecoderMemory = Annotated[str | None, option("decoder_memory", "--decoder-memory", CLIPS)]
ShortTolerance = Annotated[str | None, option("short_tolerance", "--short-tolerance", CLIPS)]
Tables = Annotated[list[str] | None, names_option("tables", "--tables", OUTPUT)]
Outputs = Annotated[list[str] | None, names_option("outputs", "--outputs", OUTPUT)]
TopK = Annotated[str | None, option("top_k", "--top-k", OUTPUT)]
Timestamps = Annotated[str | None, option("timestamps", "--timestamps", OUTPUT)]
MaxErrorRatio = Annotated[str | None, option("max_error_ratio", "--max-error-ratio", OUTPUT)]
Prune = Annotated[bool | None, option("prune", "--prune/--no-prune", OUTPUT)]
MaxPruneRatio = Annotated[str | None, option("max_prune_ratio", "--max-prune-ratio", OUTPUT)]
Retry = Annotated[list[str] | None, names_option("retry", "--retry", OUTPUT)]
NewSpec = Annotated[bool | None, option("new_spec", "--new-spec/--one-spec", OUTPUT)]
ShardClips = Annotated[str | None, option("shard_clips", "--shard-clips", RUN)]
ActorTimeoutS = Annotated[str | None, option("actor_timeout_s", "--actor-timeout-s", RUN)]
Weights = Annotated[str | None, option("weights", "--weights", MODEL)]
Actors = Annotated[str | None, option("actors", "--actors", RUN)]
GpusPerActor = Annotated[str | None, option("gpus_per_actor", "--gpus-per-actor", RUN)]
Address = Annotated[str | None, option("address", "--address", RUN)]
InProcess = Annotated[bool | None, option("in_process", "--in-process/--on-ray", RUN)]
LogFormat = Annotated[str | None, option("log_format", "--log-format", RUN)]
GivenStoreTimeout = Annotated[str | None, option("store_timeout_s", "--store-timeout-s", RUN)]
StorageOptions = Annotated[list[str] | None, option("storage_options", "--storage-options", RUN)]
StoreTimeout = Annotated[
    float, option("store_timeout_s", "--store-timeout-s", RUN, parser=positive_seconds)
]


def console(stream: Any, quiet: bool = False) -> Console:
    """Takes what a command says, as it is."""
    # Uris hold brackets and numbers: neither markup nor colouring may touch them.
    return Console(file=stream, markup=False, highlight=False, soft_wrap=True, quiet=quiet)
