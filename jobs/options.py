"""Options of the commands: help and defaults are those of the settings that they set."""

from typing import Annotated, Any

import typer
from rich.console import Console

from jobs.config import EmbedConfig
from jobs.values import added_up

SOURCE, MODEL, WINDOWS, CLIPS = "Source", "Model", "Windows", "Clips"
OUTPUT, RUN = "Table", "Where it runs"


def option(field: str, flag: str, panel: str, **kwargs: Any) -> Any:
    """An option whose help and default are those of the settings field."""
    info = EmbedConfig.model_fields[field]
    default = ",".join(info.default) if isinstance(info.default, tuple) else str(info.default)
    help_text = info.description or ""
    if info.annotation is not bool and info.default not in (None, ()):
        help_text += f" [default: {default}]"
    help_text = help_text.replace("[", "\\[")
    return typer.Option(flag, help=help_text, rich_help_panel=panel, show_default=False, **kwargs)


def names_option(field: str, flag: str, panel: str) -> Any:
    """An option of names with commas between, which may be repeated: all that is given counts."""
    return option(field, flag, panel, callback=added_up)


SourceFormat = Annotated[str | None, option("source_format", "--source-format", SOURCE)]
Include = Annotated[list[str] | None, names_option("include", "--include", SOURCE)]
Exclude = Annotated[list[str] | None, names_option("exclude", "--exclude", SOURCE)]
Columns = Annotated[list[str] | None, names_option("columns", "--columns", SOURCE)]
FollowLinks = Annotated[
    bool | None, option("follow_links", "--follow-links/--no-follow-links", SOURCE)
]
AudioColumn = Annotated[str | None, option("audio_column", "--audio-column", SOURCE)]
Arch = Annotated[str | None, option("arch", "--arch", MODEL)]
Precision = Annotated[str | None, option("precision", "--precision", MODEL)]
LongClips = Annotated[str | None, option("long_clips", "--long-clips", WINDOWS)]
WindowS = Annotated[float | None, option("window_s", "--window-s", WINDOWS)]
HopS = Annotated[float | None, option("hop_s", "--hop-s", WINDOWS)]
Padding = Annotated[str | None, option("padding", "--padding", WINDOWS)]
PadShort = Annotated[bool | None, option("pad_short", "--pad-short/--no-pad-short", WINDOWS)]
MaxClipS = Annotated[float | None, option("max_clip_s", "--max-clip-s", CLIPS)]
MaxClipBytes = Annotated[str | None, option("max_clip_bytes", "--max-clip-bytes", CLIPS)]
DecoderMemory = Annotated[str | None, option("decoder_memory", "--decoder-memory", CLIPS)]
ShortTolerance = Annotated[float | None, option("short_tolerance", "--short-tolerance", CLIPS)]
Tables = Annotated[list[str] | None, names_option("tables", "--tables", OUTPUT)]
Outputs = Annotated[list[str] | None, names_option("outputs", "--outputs", OUTPUT)]
TopK = Annotated[int | None, option("top_k", "--top-k", OUTPUT)]
Timestamps = Annotated[str | None, option("timestamps", "--timestamps", OUTPUT)]
MaxErrorRatio = Annotated[float | None, option("max_error_ratio", "--max-error-ratio", OUTPUT)]
Prune = Annotated[bool | None, option("prune", "--prune/--no-prune", OUTPUT)]
MaxPruneRatio = Annotated[float | None, option("max_prune_ratio", "--max-prune-ratio", OUTPUT)]
Retry = Annotated[list[str] | None, names_option("retry", "--retry", OUTPUT)]
NewSpec = Annotated[bool | None, option("new_spec", "--new-spec/--one-spec", OUTPUT)]
ShardClips = Annotated[int | None, option("shard_clips", "--shard-clips", RUN)]
ActorTimeoutS = Annotated[float | None, option("actor_timeout_s", "--actor-timeout-s", RUN)]
Weights = Annotated[str | None, option("weights", "--weights", MODEL)]
Actors = Annotated[str | None, option("actors", "--actors", RUN)]
GpusPerActor = Annotated[float | None, option("gpus_per_actor", "--gpus-per-actor", RUN)]
Address = Annotated[str | None, option("address", "--address", RUN)]
InProcess = Annotated[bool | None, option("in_process", "--in-process/--on-ray", RUN)]
LogFormat = Annotated[str | None, option("log_format", "--log-format", RUN)]
GivenStoreTimeout = Annotated[float | None, option("store_timeout_s", "--store-timeout-s", RUN)]
StorageOptions = Annotated[list[str] | None, option("storage_options", "--storage-options", RUN)]
StoreTimeout = Annotated[float, option("store_timeout_s", "--store-timeout-s", RUN, min=0.1)]


def console(stream: Any, quiet: bool = False) -> Console:
    """Takes what a command says, as it is."""
    # Uris hold brackets and numbers: neither markup nor colouring may touch them.
    return Console(file=stream, markup=False, highlight=False, soft_wrap=True, quiet=quiet)
