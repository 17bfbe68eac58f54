"""The steps of `passtream embed`, from the settings of a run to its exit code."""

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
from pipeline.sources.list_sources import list_sources
from pipeline.table.commit_record import CommitRecord
from pipeline.table.schema import check_carried_columns
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table, check_is_table_or_empty

if TYPE_CHECKING:
    # This module imports torch, which takes seconds; a mistyped path must fail at once.
    from models.checkpoints.state_dict import Weights


def run_embed(config: EmbedConfig, out: Console, log: RunLog, stop: StopRequest) -> int:
    """Embed the clips that the table does not have yet, and report the result.

    Args:
        config: Settings of the run.
        out: Console to which the result is printed; quiet if the log is JSON, which has the result.
        log: Log of the run, which receives progress and notes.
        stop: Stop request of the run.

    Returns:
        The exit code: 0, 3, 4 or 130, as listed in `jobs/README.md`.

    Raises:
        UsageError, ModelError: A setting cannot work. Nothing has been embedded.
    """
    try:
        return _run(config, out, log, stop)
    except Stopped:
        return report_stopped(log)


def _run(config: EmbedConfig, out: Console, log: RunLog, stop: StopRequest) -> int:
    log.storage = config.storage
    config = _resolve_address(config, log)
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
    report_waiting = partial(log.report, "waiting_for_table")
    with table.store.lock(report_waiting, stop.stop_without_grace) as table.commits.hold:
        inventory = take_inventory(table)
        retry = clips_to_retry(table, inventory.committed, config.retry, log)
        options = PlanOptions(table.spec.digest, config.shard_clips, config.prune, retry)
        plan = plan_run(listing, inventory, options)
        check_prune(plan, config)
        log_start(listing, plan, table, log, config.prune)
        totals = TableTotals(table, inventory, plan)
        plan = drop_stale_rows(table, plan, inventory, log)
        update_carried_columns(table, plan, listing, log)
        save_settings(table.store, config)
        _restore_fidelity(table)
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
        table_counts = totals.final(plan, log)
        code = report_end(config, table, monitor, table_counts, failed_clips, out, log, stop)
        return EXIT_FAILED if totals.n_gone and code in (EXIT_OK, EXIT_TOO_MANY_ERRORS) else code


def _resolve_address(config: EmbedConfig, log: RunLog) -> EmbedConfig:
    """Return the settings with the address of the cluster on which the run will embed.

    A Ray job uses the cluster that it was submitted to, unless the user gave an address.
    """
    if not is_ray_job() or config.in_process or "address" in config.model_fields_set:
        return config
    log.report(
        "joining",
        "this is a Ray job: its actors run on this cluster, as with --address auto",
    )
    return config.model_copy(update={"address": "auto"})


def _check_precision(config: EmbedConfig) -> None:
    """Raise ModelError if this machine embeds and does not support the precision.

    Actors on other machines check the precision themselves.

    Raises:
        ModelError: The device of this machine does not support the precision.
    """
    if config.precision == "fp32" or not (config.in_process or config.address == "local"):
        return
    import torch

    from jobs.worker.run_model import default_device
    from models.passt.precision import check_precision

    check_precision(config.precision, torch.device(default_device()))


def _load_weights(config: EmbedConfig, log: RunLog) -> dict[str, Weights]:
    """Load the weights of the run, by the name of the arch."""
    names = " and ".join(arch.name for arch in config.archs)
    log.report("phase", f"loading the weights of {names}", phase="loading_weights")
    from models.checkpoints.published import source_of  # imports torch, which takes seconds
    from models.checkpoints.state_dict import load_weights

    weights = {}
    sources = weights_by_arch(config.weights, config.archs)
    for arch in config.archs:
        source = sources[arch.name]
        with fetch_bar(source_of(arch) if source == "auto" else source, log) as on_progress:
            weights[arch.name] = load_weights(source, arch, on_progress)
    return weights


def _restore_fidelity(table: Table) -> None:
    """Write to table.json the fidelity that only commit records have.

    A run may be killed after its first commit and before it writes the fidelity to table.json.
    """
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
    """Embed and commit the pending shards of a plan, in this process or on Ray."""
    # These imports take seconds, and a run without pending shards does not need them.
    from jobs.worker.run_model import RunSpec

    sources = weights_by_arch(config.weights, config.archs)
    run = RunSpec(
        table.store.location,
        table.spec,
        sources,
        # The listing had credentials, so a machine without credentials waits until it gets some.
        replace(config.storage, awaits_credentials=True),
        table.commits.hold,
        config.decoder_memory,
    )
    if config.in_process:
        from jobs.embed.in_process import run_in_process

        messages_hidden = (
            nullcontext() if monitor.log.as_json else hide_decoder_messages(monitor.log.console)
        )
        with messages_hidden:
            run_in_process(run, weights, plan.pending, monitor)
    else:
        from jobs.cluster.connection import ClusterOptions
        from jobs.cluster.driver import run_on_ray

        weights.clear()  # frees memory: the actors load weights themselves
        options = ClusterOptions(
            config.address, config.actors, config.gpus_per_actor, config.actor_timeout_s
        )
        try:
            run_on_ray(run, plan.pending, monitor, options, stop)
        except SystemExit:
            # Ray raises SystemExit on a SIGTERM that arrives while Ray starts, before passtream has
            # its own signal handler back.
            raise Stopped from None
