"""`passtream plan`: its options, and the answer as text or JSON."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import (
    AllowHosts,
    Arch,
    AudioColumn,
    Columns,
    DecoderMemory,
    Exclude,
    FollowLinks,
    GivenStoreTimeout,
    HopS,
    Include,
    KeepQuery,
    LongClips,
    MaxClipBytes,
    MaxClipS,
    NoLocal,
    Outputs,
    Padding,
    PadShort,
    Precision,
    ShardClips,
    ShortTolerance,
    SourceFormat,
    StorageOptions,
    StripQuery,
    Tables,
    Timestamps,
    TopK,
    WindowS,
    console,
)
from jobs.runtime.terminal import print_row

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
            help="What bench model and bench feed --figures measured; wins over what is shipped.",
            rich_help_panel=COST,
        ),
    ] = None,
    core: Annotated[
        str,
        typer.Option(
            help="The core that decodes; if not given the first of --figures, else epyc-zen4.",
            rich_help_panel=COST,
        ),
    ] = "",
    source_format: SourceFormat = None,
    include: Include = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    columns: Columns = None,
    audio_column: AudioColumn = None,
    allow_hosts: AllowHosts = None,
    no_local: NoLocal = None,
    keep_query: KeepQuery = None,
    strip_query: StripQuery = None,
    arch: Arch = None,
    precision: Precision = None,
    long_clips: LongClips = None,
    window_s: WindowS = None,
    hop_s: HopS = None,
    padding: Padding = None,
    pad_short: PadShort = None,
    max_clip_s: MaxClipS = None,
    max_clip_bytes: MaxClipBytes = None,
    decoder_memory: DecoderMemory = None,
    short_tolerance: ShortTolerance = None,
    tables: Tables = None,
    outputs: Outputs = None,
    top_k: TopK = None,
    timestamps: Timestamps = None,
    shard_clips: ShardClips = None,
    storage_options: StorageOptions = None,
    store_timeout_s: GivenStoreTimeout = None,
) -> None:
    """Tell what embed would have to do: clips, hours, windows, and what they take. Writes nothing.

    Only names and headers are read. With a TABLE: what is new, changed, gone and done.
    """
    given = {name: value for name, value in locals().items() if name not in _OWN}
    given["storage_options"] = storage_options or None
    from jobs.plan.device_cost import parse_prices
    from jobs.plan.make_plan import Question, make_plan
    from jobs.plan.plan_text import plan_lines
    from jobs.runtime.decoder_messages import decoder_notes_hidden

    question = Question(
        paths=tuple(paths or ()),
        table=table,
        config=config,
        options=given,
        sample=sample,
        gpus=tuple(gpu or ()),
        core=core,
        figures=figures,
        prices=parse_prices(price or []),
    )
    with decoder_notes_hidden(console(sys.stderr)):
        report = make_plan(question)
    out = console(sys.stdout)
    if as_json:
        # ASCII, as a path need not be text.
        out.print(json.dumps(report.to_json(), indent=1))
        return
    for name, text in plan_lines(report):
        print_row(out, name, text)


_OWN = {"paths", "table", "config", "sample", "as_json", "gpu", "price", "figures", "core"}
