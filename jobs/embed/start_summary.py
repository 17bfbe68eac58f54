"""The log lines at the start of a run: the formats of its sources, and the work to do."""

import itertools
import os
import socket
from collections.abc import Sequence

from jobs.runtime.run_log import RunLog
from pipeline.clips import ClipRef, Container
from pipeline.io.signed_urls import strip_signature
from pipeline.planning.plan import Plan
from pipeline.sources.listing import Listing
from pipeline.table.table import Table
from pipeline.wording import count

SOURCES_SHOWN = 5
"""Number of sources that are logged by name."""


def log_sources(listing: Listing, log: RunLog) -> None:
    """Log the detected format of each source, up to `SOURCES_SHOWN` sources.

    Args:
        listing: Listing of the sources.
        log: Log of the run.
    """
    for source, format_ in itertools.islice(listing.formats.items(), SOURCES_SHOWN):
        shown = strip_signature(source)
        log.report("source", f"{shown}: {format_}", source=shown, format=format_)
    if (n_more := len(listing.formats) - SOURCES_SHOWN) > 0:
        log.report("more_sources", f"and {count(n_more, 'more source')}", sources=n_more)


def log_start(listing: Listing, plan: Plan, table: Table, log: RunLog, prune: bool) -> None:
    """Log the work that a run has to do, and warnings about its sources and its table.

    Args:
        listing: Listing of the sources.
        plan: Plan of the run.
        table: Table of the run.
        log: Log of the run.
        prune: Whether the run drops rows of clips that are no longer in the source.
    """
    for note in listing.notes:
        log.report("source_note", note, "warning")
    spec = table.spec
    archs = "; ".join(
        f"arch {route.arch} to {route.up_to_s:g} s, "
        f"weights {route.weights_origin} ({route.weights_digest[:12]})"
        for route in spec.routes
    )
    n_done, n_todo = len(plan.done), len(plan.pending)
    log.report(
        "run_started",
        f"{listing.text()}; {archs}",
        table=table.store.location,
        archs=[route.arch for route in spec.routes],
        weights=[route.weights_digest for route in spec.routes],
        shards=n_todo,
        shards_done_before=n_done,
        clips_todo=plan.n_clips,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    if any(route.weights_origin.startswith("random") for route in spec.routes):
        line = "RANDOM WEIGHTS: these embeddings are only for trials and have no meaning"
        log.report("random_weights", line, "warning")
    if plan.done:
        log.report(
            "resuming",
            f"resuming: {count(n_done, 'shard')} found done, {n_todo:,} to do"
            + (f" ({count(plan.n_clips, 'clip')})" if plan.n_clips is not None else ""),
            shards=n_todo,
            shards_done_before=n_done,
            clips_todo=plan.n_clips,
        )
    _log_damage(plan, log)
    for event, found, predicate in (
        (
            "sources_changed",
            plan.changed,
            "changed since they were embedded and will be embedded again",
        ),
        ("errors_retried", plan.to_retry, "will be retried"),
        (
            "clips_twice",
            plan.duplicated,
            "will lose all rows but one, because two runs at the same time wrote rows of them",
        ),
        (
            "sources_gone",
            plan.removed,
            "are no longer in the source and will "
            + ("be dropped" if prune else "stay in the table (--prune drops them)"),
        ),
    ):
        if found:
            log.report(
                event,
                f"{len(found):,} of the table's {_kinds(found)} {predicate}, "
                f"such as {found[0].uri!r}",
                clips=len(found),
                clip=found[0].uri,
            )


def _log_damage(plan: Plan, log: RunLog) -> None:
    """Log a warning about committed shards whose data files are missing or damaged."""
    if plan.damaged:
        shard, reason = next(iter(sorted(plan.damaged.items())))
        line = (
            f"data files of {count(len(plan.damaged), 'committed shard')} are missing or damaged "
            f"({reason}): clips that no other shard has are embedded again"
        )
        log.report("shards_damaged", line, "warning", shards=len(plan.damaged), shard=shard)


def _kinds(found: Sequence[ClipRef | Container]) -> str:
    """Return "clips", "containers" or both words, for a message."""
    kinds = {Container: "containers", ClipRef: "clips"}
    return " and ".join(kinds[kind] for kind in kinds if any(type(each) is kind for each in found))
