"""The plan of a run for `passtream plan`: its work, from names and headers, and its cost.

Nothing is decoded or written, and neither torch nor Ray is imported. If the table exists, its
settings are the defaults. A given setting that differs is refused, as `passtream embed` does.
"""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from jobs.plan.decode_cost import decode_cost
from jobs.plan.device_cost import default_cost, device_costs, route_archs
from jobs.plan.plan_report import PlanReport, count_changes
from jobs.plan.plan_request import PlanRequest, sources_and_table
from jobs.plan.speeds import all_speeds
from jobs.settings.config import EmbedConfig
from jobs.settings.host_rules import read_saved_rules
from jobs.settings.load_config import read_config
from jobs.settings.table_spec import settings_from_spec, table_spec
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
"""Shortest time between updates of the progress line, in seconds."""


class _NoWeights(NamedTuple):
    """A stand-in for weights that are not loaded, because a plan needs only their identity.

    Attributes:
        origin: Source of the weights, as the table's spec has it; empty if unknown.
        digest: SHA-256 of the weights in hexadecimal; empty if unknown.
    """

    origin: str
    digest: str


def make_plan(request: PlanRequest) -> PlanReport:
    """Plan a run and estimate its cost.

    Args:
        request: Arguments of `passtream plan`.

    Raises:
        UsageError: A source, table or setting cannot work, or the speed of a device or core is
            unknown.
        StoreError: A store is unavailable.
    """
    config = read_config(request.config, request.options)
    sources, location = sources_and_table(request, config)
    speeds = all_speeds(request.figures)
    table = _read_table(location, config.storage)
    if table:
        # The table supplies the settings that the user did not give, so `plan TABLE` is enough.
        defaults = settings_from_spec(table.spec) | read_saved_rules(table.store)
        config = read_config(request.config, request.options, defaults)
    # Credentials are sent only to hosts that the user names, not to hosts in lists of files.
    config = config.model_copy(update={"sources": tuple(sources), "table": location})
    options = config.source_options
    if table and options.columns is None:
        options = replace(options, table_columns=table.spec.columns)
    listing = list_sources(sources, options)
    check_carried_columns(listing.columns)
    spec = _resolve_spec(config, listing.columns, table)
    # Unknown devices and cores are refused here, because probing all headers may take hours.
    core = request.core or speeds.default_core
    device_costs(ListingTotals(), spec, request.gpus, speeds.devices, request.prices)
    decode_cost(ListingTotals(), core, speeds.cores)
    run = _plan_embed(table, listing, spec, config.shard_clips)
    if table and not is_up_to_date(table, listing):
        outdated = clips_with_other_values(table, run.done, listing)
        if outdated:
            listing.notes.append(
                f"other values of {', '.join(listing.columns)} in the table than in the source: "
                f"{count(len(outdated), 'clip')}, {outdated[0][0]!r} among them; a run updates "
                "these rows and does not embed the clips again"
            )
    clips, containers = _pending_work(run)
    archs = route_archs(spec)
    with _progress_line() as on_progress:
        surveyed = survey(
            clips,
            containers,
            spec,
            config.storage,
            lambda route, n_samples: archs[route].flops(n_samples),
            request.sample,
            on_progress,
            config.decoder_memory,
        )
    rows = rows_by_table(spec, surveyed.tally)
    sizes = bytes_by_table(spec, rows, len(run.pending))
    return PlanReport(
        listing=listing,
        spec=spec,
        table=location,
        changes=count_changes(listing, run) if table else None,
        survey=surveyed,
        n_bytes=_source_bytes(clips, containers, surveyed),
        n_shards=len(run.pending),
        rows=rows,
        output_bytes=sizes,
        source_requests=source_requests(run.pending, _n_remote(listing)),
        table_requests=_table_requests(location, run.pending, rows, sizes),
        costs=device_costs(surveyed.tally, spec, request.gpus, speeds.devices, request.prices),
        decoding=decode_cost(surveyed.tally, core, speeds.cores),
        default_cost=None
        if request.gpus
        else default_cost(surveyed.tally, spec, speeds.devices, speeds.default_device),
    )


def _read_table(location: str, storage: Storage) -> Table | None:
    """Return the table at a location, or None if it does not exist yet or no location is given.

    Raises:
        UsageError: The folder holds something else than a table.
    """
    if not location:
        return None
    store = open_store(location, storage)
    check_is_table_or_empty(store)
    return Table.read(store)


def _resolve_spec(config: EmbedConfig, columns: tuple[str, ...], table: Table | None) -> TableSpec:
    """Return the spec of the table, or of the table that a run would create.

    Raises:
        UsageError: The settings differ from those of the table.
    """
    weights = {arch.name: _NoWeights("", "") for arch in config.archs}
    if table:
        for route in table.spec.routes:
            weights[route.arch] = _NoWeights(route.weights_origin, route.weights_digest)
    spec = table_spec(config, weights, columns)
    if table and (differences := table.spec.differences(spec)):
        raise UsageError(
            f"table {table.store.location} was made with other settings (table, this plan): "
            f"{'; '.join(differences)}. Leave these settings out, or plan without the table"
        )
    return table.spec if table else spec


def _plan_embed(table: Table | None, listing: Listing, spec: TableSpec, shard_clips: int) -> Plan:
    """Return the plan that `passtream embed` would make of a listing."""
    committed = take_inventory(table, read_records=False) if table else KnownShards()
    return plan_run(listing, committed, PlanOptions(spec.digest, shard_clips))


def _pending_work(run: Plan) -> tuple[list[ClipRef], list[Container]]:
    """Return the clips and the containers of the pending shards of a plan."""
    clips = [clip for shard in run.pending for clip in shard.clips]
    return clips, [shard.container for shard in run.pending if shard.container]


def _source_bytes(
    clips: Iterable[ClipRef], containers: Iterable[Container], surveyed: Survey
) -> float:
    """Return the total bytes of the files, estimated from the survey if the listing lacks sizes."""
    sizes = {clip.uri: clip.n_bytes for clip in clips} | {
        f"{each.uri}\0{each.part}": each.n_bytes for each in containers
    }
    known = [n_bytes for n_bytes in sizes.values() if n_bytes is not None]
    return sum(known) if len(known) == len(sizes) else surveyed.tally.n_bytes


def _n_remote(listing: Listing) -> int:
    """Return the number of remote objects that were listed, including skipped files."""
    found = {clip.uri for clip in listing.clips} | {each.uri for each in listing.containers}
    n_remote = sum(map(is_remote, found))
    return n_remote + (listing.skipped.total() if n_remote else 0)


def _table_requests(
    location: str,
    pending: tuple[Shard, ...],
    rows: Mapping[str, float],
    sizes: Mapping[str, float],
) -> Counter[str]:
    """Return the estimated requests to the store of the table by kind; empty for a local table."""
    if not (location and is_remote(location) and pending):
        return Counter()
    n_with_errors = min(len(pending), round(rows["errors"]))
    files = [n_bytes / len(pending) for name, n_bytes in sizes.items() if name != "errors"]
    return table_requests(len(pending), n_with_errors, files)


@contextlib.contextmanager
def _progress_line() -> Iterator[Callable[[int], None]]:
    """Open a progress line on a terminal; yield the function that shows a number of probed clips.

    The line is cleared at the end. Nothing is shown if standard error is not a terminal.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        yield lambda _: None
        return
    next_s = time.monotonic()

    def show(n_clips: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _SHOW_EVERY_S
            print(f"\rheaders read: {count(n_clips, 'clip')}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
