"""One run of `passtream embed`, from its settings to its exit code."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.embed.end_summary import report_end, report_stopped
from jobs.embed.existing_rows import (
    check_prune,
    clips_to_retry,
    drop_stale_rows,
    resolve_table_version,
    update_carried_columns,
)
from jobs.embed.failed_clip_log import FailedClipLog
from jobs.embed.run_recorder import record_run
from jobs.embed.start_summary import log_sources, log_start
from jobs.embed.table_totals import TableTotals
from jobs.runtime.decoder_messages import hide_decoder_messages
from jobs.runtime.download_bar import fetch_bar
from jobs.runtime.listing_progress import log_listing_progress
from jobs.runtime.monitor import Monitor
from jobs.runtime.run_log import EXIT_FAILED, EXIT_OK, EXIT_TOO_MANY_ERRORS, RunLog
from jobs.runtime.stop_signals import Stopped, StopRequest, is_ray_job
from jobs.settings.config import EmbedConfig
from jobs.settings.routing import weights_by_arch
from jobs.settings.saved_settings import save_settings
from jobs.settings.table_spec import table_spec
from pipeline.maintenance.inventory import take_inventory
from pipeline.planning.plan import Plan, PlanOptions, plan_run
from pipeline.progress import Counts as Counts
from pipeline.sources.list_sources import list_sources
from pipeline.table.commit_record import CommitRecord
from pipeline.table.schema import check_carried_columns
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table, check_is_table_or_empty

if TYPE_CHECKING:
    # Not at runtime: torch takes seconds to import, and a mistyped path must fail at once.
    from models.checkpoints.state_dict import Weights


def run_embed(config: EmbedConfig, out: Console, log: RunLog, stop: StopRequest) -> int:
    """Embed the clips that the table does not have yet, and report the result.

    Args:
        config: Settings of the run.
        out: Console for the result; quiet where the log is JSON and has the result.
        log: Log of progress and notes.
        stop: Stop request of the run.

    Returns:
        The exit code: 0, 3, 4 or 130; `jobs/README.md` explains them.

    Raises:
        UsageError, ModelError: A setting cannot work; nothing was started.
    """
    try:
        return _run(config, out, log, stop)
    except Stopped:
        return report_stopped(log)


def _run(config: EmbedConfig, out: Console, log: RunLog, stop: StopRequest) -> int:
    log.storage = config.storage
    config = _on_its_cluster(config, log)
    with log_listing_progress(log) as on_found:
        listing = list_sources(config.sources, config.source_options, on_found)
        check_carried_columns(listing.columns)
    log_sources(listing, log)
    store = open_store(config.table, config.storage)
    check_is_table_or_empty(store)
    _check_precision(config)
    weights = _load_weights(config, log)
    spec = table_spec(config, weights, listing.columns)
    if config.new_spec:
        store = resolve_table_version(config.table, config.storage, spec)
    table = Table.open_or_create(store, spec)
    for note in table.store.notes():
        log.report("table_note", note, "warning")
    waiting = partial(log.report, "waiting_for_table")
    with table.store.lock(waiting, stop.table_lost) as table.commits.hold:
        found = take_inventory(table)
        retry = clips_to_retry(table, found.committed, config.retry, log)
        options = PlanOptions(table.spec.digest, config.shard_clips, config.prune, retry)
        plan = plan_run(listing, found, options)
        check_prune(plan, config)
        log_start(listing, plan, table, log, config.prune)
        totals = TableTotals(table, found, plan)
        plan = drop_stale_rows(table, plan, found, log)
        update_carried_columns(table, plan, listing, log)
        save_settings(table.store, config)
        _catch_up_fidelity(table)
        failed_clips = FailedClipLog(log, table)

        def on_commit(record: CommitRecord) -> None:
            table.note_fidelity(record)
            totals.add(record)
            failed_clips.report(record)

        monitor = Monitor(log, len(plan.pending), plan.n_clips, on_commit)
        try:
            with monitor, record_run(table.store, plan, monitor, config.storage, stop):
                if plan.pending:
                    _execute(config, table, weights, plan, monitor, stop)
        except Stopped:
            return report_stopped(log, **monitor.totals(), table=table.store.location)
        in_all = totals.final(plan, log)
        code = report_end(config, table, monitor, in_all, failed_clips, out, log, stop)
        return EXIT_FAILED if totals.n_gone and code in (EXIT_OK, EXIT_TOO_MANY_ERRORS) else code


def _on_its_cluster(config: EmbedConfig, log: RunLog) -> EmbedConfig:
    """Return the settings of a Ray job with the address of the cluster it was submitted to."""
    if not is_ray_job() or config.in_process or "address" in config.model_fields_set:
        return config
    log.report(
        "joining", "this is a Ray job: its actors run on this cluster, as with --address auto"
    )
    return config.model_copy(update={"address": "auto"})


def _check_precision(config: EmbedConfig) -> None:
    """Check that this machine has a precision; actors on other machines check it themselves.

    Raises:
        ModelError: This machine does not have it.
    """
    if config.precision == "fp32" or not (config.in_process or config.address == "local"):
        return
    import torch

    from jobs.worker.run_model import default_device
    from models.passt.precision import check_precision

    check_precision(config.precision, torch.device(default_device()))


def _load_weights(config: EmbedConfig, log: RunLog) -> dict[str, Weights]:
    """Load the weights of each arch of the run."""
    shown = " and ".join(arch.name for arch in config.archs)
    log.report("phase", f"loading the weights of {shown}", phase="loading_weights")
    from models.checkpoints.published import source_of  # imports torch, which takes seconds
    from models.checkpoints.state_dict import load_weights

    weights = {}
    sources = weights_by_arch(config.weights, config.archs)
    for arch in config.archs:
        source = sources[arch.name]
        with fetch_bar(source_of(arch) if source == "auto" else source, log) as show:
            weights[arch.name] = load_weights(source, arch, show)
    return weights


def _catch_up_fidelity(table: Table) -> None:
    """Write to table.json the fidelity in records of a run that was killed before it did."""
    if table.spec.precision != "fp32" and table.fidelity is None:
        for record in table.commits.records(sorted(table.commits.ids()), or_gone=True):
            table.note_fidelity(record)


def _execute(
    config: EmbedConfig,
    table: Table,
    weights: dict[str, Weights],
    plan: Plan,
    monitor: Monitor,
    stop: StopRequest,
) -> None:
    # Imported here, because these take seconds, and a run without pending shards needs no Ray.
    from jobs.worker.run_model import RunSpec

    sources = weights_by_arch(config.weights, config.archs)
    run = RunSpec(
        table.store.location,
        table.spec,
        sources,
        # The listing had credentials, so a machine without any will still get some.
        replace(config.storage, awaits_credentials=True),
        table.commits.hold,
        config.decoder_memory,
    )
    if config.in_process:
        from jobs.embed.in_process import run_in_process

        hidden = (
            nullcontext() if monitor.log.as_json else hide_decoder_messages(monitor.log.console)
        )
        with hidden:
            run_in_process(run, weights, plan.pending, monitor)
    else:
        from jobs.cluster.connection import ClusterOptions
        from jobs.cluster.driver import run_on_ray

        weights.clear()  # the actors have their own
        options = ClusterOptions(
            config.address, config.actors, config.gpus_per_actor, config.actor_timeout_s
        )
        try:
            run_on_ray(run, plan.pending, monitor, options, stop)
        except SystemExit:
            # Ray raises this on a SIGTERM between its start and the return of the signal handler.
            raise Stopped from None
