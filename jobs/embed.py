"""One run of `passtream embed`, from its settings to its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from jobs.config import EmbedConfig
from jobs.fetchbar import fetch_bar
from jobs.monitor import Monitor, summary
from jobs.stop import Stopped, StopRequest
from models.archs import EMBED_DIM, arch_spec
from pipeline.plan import Plan, plan_run
from pipeline.progress import Progress as Counts
from pipeline.source import Listing, list_sources, skipped_note
from pipeline.spec import TableSpec
from pipeline.store import LocalStore
from pipeline.table import Table, refuse_strange_folder

if TYPE_CHECKING:
    # Not before it is needed: torch takes seconds to import, and a mistyped path is told at once.
    from models.weights import Weights

EXIT_OK = 0
EXIT_SHARD_FAILED = 3
EXIT_TOO_MANY_ERRORS = 4
EXIT_STOPPED = 130


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
    listing = list_sources(config.sources)
    store = LocalStore(config.table)
    refuse_strange_folder(store)
    weights = _load_weights(config, err)
    spec = table_spec(config, weights)
    table = Table.open_or_create(store, spec)
    with table.store.lock():
        plan = plan_run(
            listing.clips, spec.digest, config.shard_clips, table.committed(), table.clips_of
        )
        _announce(listing, plan, table, err)
        _clear_orphans(plan, table)
        n_clips = sum(len(shard.clips) for shard in plan.todo)
        with Monitor(err, len(plan.todo), n_clips) as monitor:
            if plan.todo:
                _execute(config, table, weights, plan, monitor, stop)
        return _conclude(config, table, plan, monitor, out, stop)


def _load_weights(config: EmbedConfig, err: Console) -> Weights:
    from models.published import source_of
    from models.weights import load_weights

    arch = arch_spec(config.arch)
    source = source_of(arch) if config.weights == "auto" else config.weights
    with fetch_bar(source, err) as show:
        return load_weights(config.weights, arch, show)


def table_spec(config: EmbedConfig, weights: Weights) -> TableSpec:
    """The spec of the table that these settings write."""
    arch = arch_spec(config.arch)
    return TableSpec(
        arch=arch.name,
        weights_origin=weights.origin,
        weights_digest=weights.digest,
        min_samples=arch.min_samples,
        embedding_dim=EMBED_DIM,
        n_classes=arch.n_classes,
        front_end_hop=arch.hop_samples,
        window_s=config.window_s,
        hop_s=config.hop_s,
        padding=config.padding,
        pad_short=config.pad_short,
        tables=tuple(dict.fromkeys(("clips", *config.tables))),
        outputs=tuple(dict.fromkeys(("embedding", *config.outputs))),
    )


def _announce(listing: Listing, plan: Plan, table: Table, err: Console) -> None:
    spec = table.spec
    err.print(
        f"{len(listing.clips)} clips{skipped_note(listing.skipped)}; arch {spec.arch}, "
        f"weights {spec.weights_origin} ({spec.weights_digest[:12]})"
    )
    if spec.weights_origin.startswith("random"):
        err.print("RANDOM WEIGHTS: these embeddings are for trials and mean nothing")
    if plan.done:
        err.print(
            f"resuming: {len(plan.done)} shards found done, {len(plan.todo)} to do "
            f"({sum(len(shard.clips) for shard in plan.todo)} clips)"
        )
    if plan.changed:
        err.print(
            f"WARNING: {len(plan.changed)} clips changed since they were embedded, "
            f"{plan.changed[0].uri!r} among them; their old rows are kept. Embed into a new table "
            "to have them anew"
        )


def _clear_orphans(plan: Plan, table: Table) -> None:
    """Delete what a killed run wrote but did not commit, where this run does not write it anew."""
    known = {*plan.done, *(shard.shard_id for shard in plan.todo)}
    for name in table.orphans(known):
        table.store.delete(name)


def _execute(
    config: EmbedConfig,
    table: Table,
    weights: Weights,
    plan: Plan,
    monitor: Monitor,
    stop: StopRequest,
) -> None:
    # Here, because these take seconds to import: a run with nothing to do starts no Ray.
    from jobs.model import RunSpec

    run = RunSpec(str(table.store.root), table.spec, config.weights)
    if config.in_process:
        from jobs.local import run_in_process

        run_in_process(run, weights, plan.todo, monitor)
    else:
        from jobs.cluster import run_on_ray
        from jobs.connect import ClusterOptions

        weights.state_dict.clear()  # the actors have their own
        options = ClusterOptions(config.address, config.actors)
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
    out.print(summary("this run", counts, monitor.wall_s, str(table.store.root)))
    in_all = Counts()
    for record in table.records(sorted(table.committed())):
        in_all.add(record.counts)
    n_errors = in_all.errors.total()
    out.print(
        Text(
            f"the table now: {in_all.clips - n_errors:,} clips, {in_all.audio_s / 3600:.3f} h, "
            f"{n_errors} errors; passtream verify {table.store.root}"
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
            f"{config.max_error_ratio}; they are in {table.store.path('errors')}"
        )
        return EXIT_TOO_MANY_ERRORS
    return EXIT_OK
