"""The command `passtream plan`, which prints its report as text or JSON."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import console
from jobs.cli.settings_options import settings_options
from jobs.runtime.terminal import print_row

_COST = "Time and money"
_NOT_FOR_PLAN = (
    "weights",
    "max_error_ratio",
    "prune",
    "max_prune_ratio",
    "retry",
    "new_spec",
    "actors",
    "gpus_per_actor",
    "actor_timeout_s",
    "address",
    "in_process",
    "log_format",
)
"""Settings that do not change which clips a run embeds."""


@settings_options(without=_NOT_FOR_PLAN)
def plan(
    settings: Mapping[str, Any],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE... [TABLE]",
            help="As for embed. The last of several is the table if it is a table, or a local "
            "folder that does not exist yet.",
        ),
    ] = None,
    table: Annotated[str, typer.Option(help="Folder or URI of the table.")] = "",
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings of embed; options override it."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, help="About how many clips to read, with totals scaled up; default: all."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="Device to show hours for; repeatable.", rich_help_panel=_COST),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRICE",
            help="Price of an hour of a device, in any currency; repeatable.",
            rich_help_panel=_COST,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="File of speeds that bench model and bench feed measured; it overrides the "
            "shipped speeds.",
            rich_help_panel=_COST,
        ),
    ] = None,
    core: Annotated[
        str,
        typer.Option(
            help="Name of the core that decodes; default: the first of --figures, else epyc-zen4.",
            rich_help_panel=_COST,
        ),
    ] = "",
) -> None:
    """Show what embed would do: clips, hours, windows, and their cost. Writes nothing.

    Reads only names and headers. With a TABLE, also shows what is new, changed, gone and done.
    """
    from jobs.plan.device_cost import parse_prices
    from jobs.plan.make_plan import make_plan
    from jobs.plan.plan_request import PlanRequest
    from jobs.plan.plan_text import plan_lines
    from jobs.runtime.decoder_messages import hide_decoder_messages

    request = PlanRequest(
        paths=tuple(paths or ()),
        table=table,
        config=config,
        options=settings,
        sample=sample,
        gpus=tuple(gpu or ()),
        core=core,
        figures=figures,
        prices=parse_prices(price or []),
    )
    with hide_decoder_messages(console(sys.stderr)):
        report = make_plan(request)
    out = console(sys.stdout)
    if as_json:
        # JSON is written as ASCII, because a path may contain bytes that are not valid text.
        out.print(json.dumps(report.to_json(), indent=1))
        return
    for name, text in plan_lines(report):
        print_row(out, name, text)
