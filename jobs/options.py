"""Options of the commands: help and defaults are those of the settings that they set."""

from typing import Annotated, Any

import typer
from rich.console import Console

from jobs.config import EmbedConfig

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
