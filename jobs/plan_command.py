"""`passtream plan`: its options, and the answer as text or JSON."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs.options import (
    CLIPS,
    MODEL,
    OUTPUT,
    RUN,
    SOURCE,
    WINDOWS,
    GivenStoreTimeout,
    StorageOptions,
    console,
    option,
)

COST = "Time and money"


def plan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE... [TABLE]",
            help="As of embed. The last of several is the table if it is one, or a local folder "
            "that is not there yet.",
        ),
    ] = None,
    table: Annotated[str, typer.Option(help="Folder or URI of the table.")] = "",
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of the settings of embed; given options win over it."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Look at so many clips only, and scale up; all if not given."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="Hours on this device; repeatable.", rich_help_panel=COST),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRICE",
            help="Of an hour of a device, in any money; repeatable.",
            rich_help_panel=COST,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="What bench model --figures measured; wins over what is shipped.",
            rich_help_panel=COST,
        ),
    ] = None,
    source_format: Annotated[str | None, option("source_format", "--source-format", SOURCE)] = None,
    include: Annotated[str | None, option("include", "--include", SOURCE)] = None,
    exclude: Annotated[str | None, option("exclude", "--exclude", SOURCE)] = None,
    columns: Annotated[str | None, option("columns", "--columns", SOURCE)] = None,
    audio_column: Annotated[str | None, option("audio_column", "--audio-column", SOURCE)] = None,
    arch: Annotated[str | None, option("arch", "--arch", MODEL)] = None,
    precision: Annotated[str | None, option("precision", "--precision", MODEL)] = None,
    long_clips: Annotated[str | None, option("long_clips", "--long-clips", WINDOWS)] = None,
    window_s: Annotated[float | None, option("window_s", "--window-s", WINDOWS)] = None,
    hop_s: Annotated[float | None, option("hop_s", "--hop-s", WINDOWS)] = None,
    padding: Annotated[str | None, option("padding", "--padding", WINDOWS)] = None,
    pad_short: Annotated[
        bool | None, option("pad_short", "--pad-short/--no-pad-short", WINDOWS)
    ] = None,
    max_clip_s: Annotated[float | None, option("max_clip_s", "--max-clip-s", CLIPS)] = None,
    max_clip_bytes: Annotated[
        int | None, option("max_clip_bytes", "--max-clip-bytes", CLIPS)
    ] = None,
    short_tolerance: Annotated[
        float | None, option("short_tolerance", "--short-tolerance", CLIPS)
    ] = None,
    tables: Annotated[str | None, option("tables", "--tables", OUTPUT)] = None,
    outputs: Annotated[str | None, option("outputs", "--outputs", OUTPUT)] = None,
    top_k: Annotated[int | None, option("top_k", "--top-k", OUTPUT)] = None,
    timestamps: Annotated[str | None, option("timestamps", "--timestamps", OUTPUT)] = None,
    shard_clips: Annotated[int | None, option("shard_clips", "--shard-clips", RUN)] = None,
    storage_options: StorageOptions = None,
    store_timeout_s: GivenStoreTimeout = None,
) -> None:
    """Tell what embed would have to do: clips, hours, windows, and what they take. Writes nothing.

    Only names and headers are read. With a TABLE: what is new, changed, gone and done.
    """
    given = {name: value for name, value in locals().items() if name not in _OWN}
    given["storage_options"] = storage_options or None
    from jobs.costs import parse_prices
    from jobs.plan import Question, make_plan
    from jobs.plan_text import plan_lines

    report = make_plan(
        Question(
            paths=tuple(paths or ()),
            table=table,
            config=config,
            options=given,
            sample=sample,
            gpus=tuple(gpu or ()),
            figures=figures,
            prices=parse_prices(price or []),
        )
    )
    out = console(sys.stdout)
    if as_json:
        # ASCII, as a path need not be text.
        out.print(json.dumps(report.to_json(), indent=1))
        return
    for name, text in plan_lines(report):
        out.print(f"{name:<10} {text}")


_OWN = {"paths", "table", "config", "sample", "as_json", "gpu", "price", "figures"}
