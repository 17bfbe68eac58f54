"""`passtream plan`: its options, and the answer as text or JSON."""

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
_NOT_OF_A_PLAN = (
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
"""Settings that change nothing of what there is to do."""


@settings_options(without=_NOT_OF_A_PLAN)
def plan(
    settings: Mapping[str, Any],
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
        typer.Option(help="Hours on this device; repeatable.", rich_help_panel=_COST),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRICE",
            help="Of an hour of a device, in any money; repeatable.",
            rich_help_panel=_COST,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="What bench model and bench feed --figures measured; wins over what is shipped.",
            rich_help_panel=_COST,
        ),
    ] = None,
    core: Annotated[
        str,
        typer.Option(
            help="The core that decodes; if not given the first of --figures, else epyc-zen4.",
            rich_help_panel=_COST,
        ),
    ] = "",
) -> None:
    """Tell what embed would have to do: clips, hours, windows, and what they take. Writes nothing.

    Only names and headers are read. With a TABLE: what is new, changed, gone and done.
    """
    from jobs.plan.device_cost import parse_prices
    from jobs.plan.make_plan import PlanRequest, make_plan
    from jobs.plan.plan_text import plan_lines
    from jobs.runtime.decoder_messages import hide_decoder_messages

    question = PlanRequest(
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
        report = make_plan(question)
    out = console(sys.stdout)
    if as_json:
        # ASCII, as a path need not be text.
        out.print(json.dumps(report.to_json(), indent=1))
        return
    for name, text in plan_lines(report):
        print_row(out, name, text)
