"""`passtream plan`: what a run would have to do, from names and headers, and what that takes.

Nothing is decoded or written, and neither torch nor Ray is imported. Against a table the settings
are its own, and a setting that is given and differs is refused, as a run would be.
"""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jobs.config import EmbedConfig
from jobs.configure import read_config
from jobs.costs import device_costs, window_cost
from jobs.figures import all_figures
from jobs.plan_report import PlanReport
from jobs.table_spec import table_spec
from pipeline.clips import ClipRef, Container
from pipeline.difference import Difference, difference, held_by
from pipeline.errors import UsageError
from pipeline.output_size import bytes_by_table, rows_by_table
from pipeline.plan import Shard, plan_shards
from pipeline.sources.listing import Listing
from pipeline.sources.recognize import list_sources
from pipeline.sources.stdin import STDIN
from pipeline.spec import TableSpec
from pipeline.storage import HTTP_PROTOCOLS, Storage, is_remote, protocol_of
from pipeline.store_requests import source_requests, table_requests
from pipeline.stores import open_store
from pipeline.survey import Survey, survey
from pipeline.table import Table, refuse_strange_folder

_SHOW_EVERY_S = 0.5


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        paths: sources, and perhaps the table behind them.
        table: folder or URI of the table; empty where it is among the paths, or in the file.
        config: YAML file of the settings.
        options: settings that were given, by field name; None values were not.
        sample: how many clips to look at; None for all.
        gpus: names of devices.
        figures: the person's own file of figures.
        prices: of an hour of a device, by name.
    """

    paths: tuple[str, ...] = ()
    table: str = ""
    config: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    gpus: tuple[str, ...] = ()
    figures: Path | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


class _Weights(NamedTuple):
    """What a spec says of weights that nobody has loaded."""

    origin: str = ""
    digest: str = ""


def make_plan(question: Question) -> PlanReport:
    """Answer it.

    Raises:
        UsageError: a source, table or setting that a run could not work with either; or a device
            without a figure.
        StoreError: a store is out of order.
    """
    config = read_config(question.config, question.options)
    sources, location = _places(question, config)
    figures = all_figures(question.figures)
    table = _table(location, config.storage)
    if table:
        # What is not given is the table's, so that these two words are enough: plan, and where.
        defaults = _settings_of(table.spec)
        config = read_config(question.config, question.options, defaults)
    listing = _listed(sources, config, question)
    weights = {route.arch: _Weights(*_of(route)) for route in table.spec.routes} if table else {}
    for arch in config.archs:
        weights.setdefault(arch.name, _Weights())
    spec = table_spec(config, weights, listing.columns)
    if table:
        _refuse_other(table, spec)
        spec = table.spec
    # Refuses what has no figure before hours are spent on headers.
    device_costs(_nothing(), spec, question.gpus, figures, question.prices)
    found = _difference(table, listing, config.shard_clips)
    clips, containers = found.todo if found else (listing.clips, listing.containers)
    archs = window_cost(spec)
    with progress_line("headers") as show:
        seen = survey(
            clips,
            containers,
            spec,
            config.storage,
            lambda route, n_samples: archs[route].flops(n_samples),
            question.sample,
            show,
        )
    shards = plan_shards(clips, spec.digest, config.shard_clips, containers)
    rows = rows_by_table(spec, seen.tally)
    sizes = bytes_by_table(spec, rows, len(shards))
    source_asked, table_asked = _requests(listing, shards, seen, location, sizes)
    return PlanReport(
        listing=listing,
        spec=spec,
        table=location,
        difference=found,
        survey=seen,
        n_bytes=_bytes(clips, containers, seen),
        n_shards=len(shards),
        rows=rows,
        output_bytes=sizes,
        source_requests=source_asked,
        table_requests=table_asked,
        costs=device_costs(seen.tally, spec, question.gpus, figures, question.prices),
    )
