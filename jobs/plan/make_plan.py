"""`passtream plan`: what a run would have to do, from names and headers, and what that takes.

Nothing is decoded or written, and neither torch nor Ray is imported. Against a table the settings
are its own, and a setting that is given and differs is refused, as a run would be.
"""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from jobs.plan.decode_cost import decode_cost
from jobs.plan.device_cost import default_cost, device_costs, route_archs
from jobs.plan.plan_report import PlanReport, count_changes
from jobs.plan.speeds import all_speeds
from jobs.settings.config import EmbedConfig
from jobs.settings.host_rules import rules_of_table
from jobs.settings.load_config import read_config
from jobs.settings.saved_settings import STDIN
from jobs.settings.table_spec import settings_of, table_spec
from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.maintenance.carried_columns import clips_with_other_values, is_up_to_date
from pipeline.maintenance.inventory import take_inventory
from pipeline.planning.committed import KnownShards
from pipeline.planning.plan import Plan, PlanOptions, plan_run
from pipeline.planning.request_counts import source_requests, table_requests
from pipeline.planning.survey import Survey, survey
from pipeline.planning.table_size import bytes_by_table, rows_by_table
from pipeline.planning.totals import ListingTotals
from pipeline.shards import Shard
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import Listing
from pipeline.table.schema import check_carried_columns
from pipeline.table.spec import TableSpec
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table, check_is_table_or_empty
from pipeline.wording import count

_SHOW_EVERY_S = 0.5


@dataclass(frozen=True)
class PlanRequest:
    """The arguments of `passtream plan`.

    Attributes:
        paths: Sources, and perhaps the table after them.
        table: Folder or URI of the table; empty where it is in the paths or in the file.
        config: YAML file of the settings; None for none.
        options: Settings by field name; None values were not given.
        sample: Number of clips to probe; None for all.
        gpus: Names of devices.
        core: Name of the core that decodes; empty for the first core of the user's file of
            measurements, or the shipped one.
        figures: The user's file of measurements; None for none.
        prices: Price of an hour of a device, by name.
    """

    paths: tuple[str, ...] = ()
    table: str = ""
    config: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    gpus: tuple[str, ...] = ()
    core: str = ""
    figures: Path | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


class _NoWeights(NamedTuple):
    """The weights of a spec that have not been loaded."""

    origin: str
    digest: str


def make_plan(request: PlanRequest) -> PlanReport:
    """Make the plan of a run and estimate its cost.

    Raises:
        UsageError: A source, table or setting cannot work, or a device or core has no measurement.
        StoreError: A store is unavailable.
    """
    config = read_config(request.config, request.options)
    sources, location = _places(request, config)
    figures = all_speeds(request.figures)
    table = _table(location, config.storage)
    if table:
        # Settings that are not given are the table's, so that `plan TABLE` is enough.
        base = settings_of(table.spec) | rules_of_table(table.store)
        config = read_config(request.config, request.options, base)
    # Credentials are for what is named here, and not for what a list names.
    config = config.model_copy(update={"sources": tuple(sources), "table": location})
    options = config.source_options
    if table and options.columns is None:
        options = replace(options, table_columns=table.spec.columns)
    listing = list_sources(sources, options)
    check_carried_columns(listing.columns)
    spec = _spec(config, listing.columns, table)
    # Refuses what has no figure before hours are spent on headers.
    core = request.core or figures.default_core
    device_costs(ListingTotals(), spec, request.gpus, figures.devices, request.prices)
    decode_cost(ListingTotals(), core, figures.cores)
    run = _run(table, listing, spec, config.shard_clips)
    if table and not is_up_to_date(table, listing):
        others = clips_with_other_values(table, run.done, listing)
        if others:
            listing.notes.append(
                f"other values of {', '.join(listing.columns)} in the table than in the source: "
                f"{count(len(others), 'clip')}, {others[0][0]!r} among them; a run updates the "
                "rows and embeds nothing again for that"
            )
    clips, containers = _todo(run)
    archs = route_archs(spec)
    with _progress_line() as show:
        seen = survey(
            clips,
            containers,
            spec,
            config.storage,
            lambda route, n_samples: archs[route].flops(n_samples),
            request.sample,
            show,
            config.decoder_memory,
        )
    rows = rows_by_table(spec, seen.tally)
    sizes = bytes_by_table(spec, rows, len(run.pending))
    return PlanReport(
        listing=listing,
        spec=spec,
        table=location,
        changes=count_changes(listing, run) if table else None,
        survey=seen,
        n_bytes=_bytes(clips, containers, seen),
        n_shards=len(run.pending),
        rows=rows,
        output_bytes=sizes,
        source_requests=source_requests(run.pending, _n_remote(listing)),
        table_requests=_table_requests(location, run.pending, rows, sizes),
        costs=device_costs(seen.tally, spec, request.gpus, figures.devices, request.prices),
        decoding=decode_cost(seen.tally, core, figures.cores),
        default_cost=None
        if request.gpus
        else default_cost(seen.tally, spec, figures.devices, figures.default_device),
    )


def _places(request: PlanRequest, config: EmbedConfig) -> tuple[tuple[str, ...], str]:
    """Return the sources, and the table or an empty text."""
    paths, table = request.paths, request.table
    if not table and len(paths) > 1 and _may_be_table(paths[-1], config.storage):
        return paths[:-1], paths[-1]
    sources = paths or config.sources
    if not sources:
        raise UsageError("name at least one SOURCE: passtream plan SOURCE... [TABLE]")
    return sources, table or config.table


def _may_be_table(location: str, storage: Storage) -> bool:
    """Return whether a path is a table, or a local folder that could become one."""
    if location == STDIN or Path(location).is_file():
        return False
    store = open_store(location, storage)
    if Table.read(store):
        return True
    is_pattern = any(character in location for character in "*?[{")
    return not (is_remote(location) or is_pattern or store.entries())


def _table(location: str, storage: Storage) -> Table | None:
    if not location:
        return None
    store = open_store(location, storage)
    check_is_table_or_empty(store)
    return Table.read(store)


def _spec(config: EmbedConfig, columns: tuple[str, ...], table: Table | None) -> TableSpec:
    """Return the spec of the table, or of the table that a run would create.

    Raises:
        UsageError: The settings are not those of the table.
    """
    weights = {arch.name: _NoWeights("", "") for arch in config.archs}
    if table:
        for route in table.spec.routes:
            weights[route.arch] = _NoWeights(route.weights_origin, route.weights_digest)
    spec = table_spec(config, weights, columns)
    if table and (differences := table.spec.differences(spec)):
        raise UsageError(
            f"table {table.store.location} was made with other settings (table, this plan): "
            f"{'; '.join(differences)}. Leave them out, or plan without the table"
        )
    return table.spec if table else spec


def _run(table: Table | None, listing: Listing, spec: TableSpec, shard_clips: int) -> Plan:
    """Plan the run that `embed` would make of a listing."""
    committed = take_inventory(table, read_records=False) if table else KnownShards()
    return plan_run(listing, committed, PlanOptions(spec.digest, shard_clips))


def _todo(run: Plan) -> tuple[list[ClipRef], list[Container]]:
    clips = [clip for shard in run.pending for clip in shard.clips]
    return clips, [shard.container for shard in run.pending if shard.container]


def _bytes(clips: Iterable[ClipRef], containers: Iterable[Container], seen: Survey) -> float:
    """Return the bytes of the files, from the listing if it has the sizes of all."""
    sizes = {clip.uri: clip.n_bytes for clip in clips} | {
        f"{each.uri}\0{each.part}": each.n_bytes for each in containers
    }
    known = [n_bytes for n_bytes in sizes.values() if n_bytes is not None]
    return sum(known) if len(known) == len(sizes) else seen.tally.n_bytes


def _n_remote(listing: Listing) -> int:
    found = {clip.uri for clip in listing.clips} | {each.uri for each in listing.containers}
    n_remote = sum(map(is_remote, found))
    return n_remote + (listing.skipped.total() if n_remote else 0)


def _table_requests(
    location: str,
    todo: tuple[Shard, ...],
    rows: Mapping[str, float],
    sizes: Mapping[str, float],
) -> Counter[str]:
    if not (location and is_remote(location) and todo):
        return Counter()
    n_with_errors = min(len(todo), round(rows["errors"]))
    files = [n_bytes / len(todo) for name, n_bytes in sizes.items() if name != "errors"]
    return table_requests(len(todo), n_with_errors, files)


@contextlib.contextmanager
def _progress_line() -> Iterator[Callable[[int], None]]:
    """Show the progress on a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        yield lambda _: None
        return
    next_s = time.monotonic()

    def show(n_clips: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _SHOW_EVERY_S
            print(f"\rheaders: {count(n_clips, 'clip')}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
