"""One run of `passtream embed`, from its settings to its exit code."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from jobs.config import EmbedConfig
from jobs.fetchbar import fetch_bar
from jobs.monitor import Monitor, fidelity_text, summary
from jobs.routing import weights_by_arch
from jobs.run_note import run_noted
from jobs.stop import Stopped, StopRequest
from jobs.table_spec import table_spec
from pipeline.plan import Plan, plan_run
from pipeline.progress import Progress as Counts
from pipeline.signed import without_signature
from pipeline.sources.listing import Listing
from pipeline.sources.recognize import list_sources
from pipeline.storage import Storage
from pipeline.stores import open_store
from pipeline.table import Table, refuse_strange_folder

if TYPE_CHECKING:
    # Not before it is needed: torch takes seconds to import, and a mistyped path is told at once.
    from models.weights import Weights

EXIT_OK = 0
EXIT_SHARD_FAILED = 3
EXIT_TOO_MANY_ERRORS = 4
EXIT_STOPPED = 130
SOURCES_SHOWN = 5


def run_embed(config: EmbedConfig, out: Console, err: Console, stop: StopRequest) -> int:
    """Embed what is not embedded yet, and say what came of it.

    Args:
        config: the settings.
        out: takes the result.
        err: takes progress and notes.
        stop: whether the run has been told to stop.

    Returns:
        The exit code: 0, 3, 4 or 130 as the README says.

    Raises:
        UsageError, ModelError: nothing was started.
    """
    try:
        return _run(config, out, err, stop)
    except Stopped:
        err.print("stopped; what is committed stays. The same command goes on from there")
        return EXIT_STOPPED


def _run(config: EmbedConfig, out: Console, err: Console, stop: StopRequest) -> int:
    listing = list_sources(config.sources, config.source_options)
    store = open_store(config.table, config.storage)
    refuse_strange_folder(store)
    _check_precision(config)
    weights = _load_weights(config, err)
    spec = table_spec(config, weights, listing.columns)
    table = Table.open_or_create(store, spec)
    for note in table.store.notes():
        err.print(note)
    with table.store.lock(err.print, stop.signal):
        plan = plan_run(
            listing.clips,
            spec.digest,
            config.shard_clips,
            table.committed(),
            table.contents_of,
            listing.containers,
        )
        _announce_sources(listing, config.storage, err)
        _announce(listing, plan, table, err)
        _clear_orphans(plan, table)
        _catch_up_fidelity(table)
        with (
            Monitor(err, len(plan.todo), plan.n_clips, table.note_fidelity) as monitor,
            run_noted(table.store, plan, monitor, config.storage, stop),
        ):
            if plan.todo:
                _execute(config, table, weights, plan, monitor, stop)
        return _conclude(config, table, plan, monitor, out, stop)


def _check_precision(config: EmbedConfig) -> None:
    """Refuse a precision that this machine does not have; an elsewhere is asked once it is there.

    Raises:
        ModelError: it has not.
    """
    if config.precision == "fp32" or not (config.in_process or config.address == "local"):
        return
    import torch

    from jobs.model import default_device
    from models.precision import check_precision

    check_precision(config.precision, torch.device(default_device()))


def _load_weights(config: EmbedConfig, err: Console) -> dict[str, Weights]:
    """The weights of each of the run's archs."""
    from models.published import source_of
    from models.weights import load_weights

    weights = {}
    sources = weights_by_arch(config.weights, config.archs)
    for arch in config.archs:
        source = sources[arch.name]
        with fetch_bar(source_of(arch) if source == "auto" else source, err) as show:
            weights[arch.name] = load_weights(source, arch, show)
    return weights


def _announce_sources(listing: Listing, storage: Storage, err: Console) -> None:
    """What each source was taken for; of many, the first ones."""
    for source, format_ in itertools.islice(listing.formats.items(), SOURCES_SHOWN):
        err.print(f"{storage.redacted(without_signature(source))}: {format_}")
    if (n_more := len(listing.formats) - SOURCES_SHOWN) > 0:
        err.print(f"and {n_more} more sources")


def _announce(listing: Listing, plan: Plan, table: Table, err: Console) -> None:
    spec = table.spec
    archs = "; ".join(
        f"arch {route.arch} to {route.up_to_s:g} s, "
        f"weights {route.weights_origin} ({route.weights_digest[:12]})"
        for route in spec.routes
    )
    err.print(f"{listing.text()}; {archs}")
    if any(route.weights_origin.startswith("random") for route in spec.routes):
        err.print("RANDOM WEIGHTS: these embeddings are for trials and mean nothing")
    if plan.done:
        err.print(
            f"resuming: {len(plan.done)} shards found done, {len(plan.todo)} to do"
            + (f" ({plan.n_clips} clips)" if plan.n_clips is not None else "")
        )
    if plan.changed:
        err.print(
            f"WARNING: {len(plan.changed)} of these changed since they were embedded, "
            f"{plan.changed[0].uri!r} among them; their old rows are kept. Embed into a new table "
            "to have them anew"
        )


def _catch_up_fidelity(table: Table) -> None:
    """A run that was killed may have left records whose fidelity is not in table.json yet."""
    if table.spec.precision != "fp32" and table.fidelity is None:
        for record in table.records(sorted(table.committed())):
            table.note_fidelity(record)


def _clear_orphans(plan: Plan, table: Table) -> None:
    """Delete what a killed run wrote but did not commit, where this run does not write it anew."""
    known = {*plan.done, *(shard.shard_id for shard in plan.todo)}
    for name in table.orphans(known):
        table.store.delete(name)


def _execute(
    config: EmbedConfig,
    table: Table,
    weights: dict[str, Weights],
    plan: Plan,
    monitor: Monitor,
    stop: StopRequest,
) -> None:
    # Here, because these take seconds to import: a run with nothing to do starts no Ray.
    from jobs.model import RunSpec

    sources = weights_by_arch(config.weights, config.archs)
    run = RunSpec(table.store.location, table.spec, sources, config.storage)
    if config.in_process:
        from jobs.local import run_in_process

        run_in_process(run, weights, plan.todo, monitor)
    else:
        from jobs.cluster import run_on_ray
        from jobs.connect import ClusterOptions

        weights.clear()  # the actors have their own
        options = ClusterOptions(
            config.address, config.actors, config.gpus_per_actor, config.actor_timeout_s
        )
        run_on_ray(run, plan.todo, monitor, options, stop)


def _conclude(
    config: EmbedConfig,
    table: Table,
    plan: Plan,
    monitor: Monitor,
    out: Console,
    stop: StopRequest,
) -> int:
    counts = monitor.committed
    out.print(summary("this run", counts, monitor.wall_s, table.store.location))
    if table.fidelity:
        out.print(Text(fidelity_text(table.fidelity)))
    in_all = Counts()
    for record in table.records(sorted(table.committed())):
        in_all.add(record.counts)
    n_errors = in_all.errors.total()
    out.print(
        Text(
            f"the table now: {in_all.clips - n_errors:,} clips, {in_all.audio_s / 3600:.3f} h, "
            f"{n_errors} errors; passtream verify {table.store.location}"
        )
    )
    if stop.requested:
        raise Stopped
    if monitor.failed:
        out.print(f"{len(monitor.failed)} shards failed; the same command tries them again")
        return EXIT_SHARD_FAILED
    if in_all.clips and n_errors / in_all.clips > config.max_error_ratio:
        out.print(
            f"{n_errors} of {in_all.clips} clips are errors, more than --max-error-ratio "
            f"{config.max_error_ratio}; they are in {table.store.locate('errors')}"
        )
        return EXIT_TOO_MANY_ERRORS
    return EXIT_OK
