"""The report of `passtream plan`, and its form as a JSON object."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from jobs.plan.decode_cost import DecodeCost
from jobs.plan.device_cost import DeviceCost
from pipeline.clips import ClipRef, Container
from pipeline.io.signed_urls import strip_signature
from pipeline.planning.plan import Plan
from pipeline.planning.survey import Survey
from pipeline.planning.totals import DURATIONS_S
from pipeline.sources.listing import Listing
from pipeline.table.spec import TableSpec


@dataclass(frozen=True, slots=True)
class Count:
    """Number of clips, and of containers, whose clips have not been counted."""

    clips: int
    containers: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences between a listing and a table.

    Attributes:
        new: Clips and containers that the table does not have.
        changed: Clips and containers of which the table has an older version.
        gone: Clips and containers of the table that are not in the listing.
        done: Clips and containers that the table has in the listed version.
    """

    new: Count
    changed: Count
    gone: Count
    done: Count


def count_changes(listing: Listing, run: Plan) -> Changes:
    """Count the new, changed, gone and done clips and containers.

    Args:
        listing: Listing of the sources.
        run: Plan of the run that would embed the listing into the table.
    """
    changed_clips = {(e.uri, e.member) for e in run.changed if isinstance(e, ClipRef)}
    changed_files = {e.uri for e in run.changed if isinstance(e, Container)}
    clips = [clip for shard in run.pending for clip in shard.clips]
    containers = [shard.container for shard in run.pending if shard.container]
    changed = Count(
        sum((clip.uri, clip.member) in changed_clips for clip in clips),
        # A new version of a container may be divided into shards at other points.
        sum(container.uri in changed_files for container in containers),
    )
    n_gone = sum(isinstance(each, ClipRef) for each in run.removed)
    return Changes(
        Count(len(clips) - changed.clips, len(containers) - changed.containers),
        changed,
        Count(n_gone, len(run.removed) - n_gone),
        Count(len(listing.clips) - len(clips), len(listing.containers) - len(containers)),
    )


@dataclass(frozen=True)
class PlanReport:
    """Work of a planned run, and its cost.

    Attributes:
        listing: Listing of the sources.
        spec: Spec of the table.
        table: Location of the table; empty if none was named.
        changes: Differences between listing and table; None if there is no table yet.
        survey: Survey of the clips to embed.
        n_bytes: Bytes of the files to embed.
        n_shards: Number of shards to embed.
        rows: Estimated number of rows to write, by table.
        output_bytes: Estimated bytes to write, by table.
        source_requests: Estimated requests to the stores of the sources, by kind.
        table_requests: Estimated requests to the store of the table, by kind.
        costs: Cost on each of the requested devices.
        decoding: Cost of decoding on a core.
        default_cost: Cost on the default device; None if other devices were requested, or if its
            speed in this precision is not known.
    """

    listing: Listing
    spec: TableSpec
    table: str
    changes: Changes | None
    survey: Survey
    n_bytes: float
    n_shards: int
    rows: dict[str, float]
    output_bytes: dict[str, float]
    source_requests: Counter[str]
    table_requests: Counter[str]
    costs: list[DeviceCost]
    decoding: DecodeCost
    default_cost: DeviceCost | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data, with rounded counts; those of a sample are scaled up."""
        totals = self.survey.tally
        return {
            "sources": {strip_signature(s): f for s, f in self.listing.formats.items()},
            "notes": self.listing.notes,
            "skipped_files": dict(sorted(self.listing.skipped.items())),
            "table": self.table or None,
            "changes": asdict(self.changes) if self.changes else None,
            "sample": self._sample_to_json(),
            "clips": round(totals.clips),
            "clips_to_embed": round(totals.embedded),
            "passed_over_members": _round_counts(totals.passed_over),
            "audio_s": round(totals.audio_s, 6),
            "audio_h": totals.audio_s / 3600,
            "bytes": round(self.n_bytes),
            "estimated": {
                "clips": round(totals.estimated.total()),
                "audio_s": round(totals.estimated_s, 6),
                "by_ending": _round_counts(totals.estimated),
            },
            "sample_rates_hz": _round_counts(totals.rates),
            "durations_s": [
                {"up_to_s": upper, "clips": round(totals.durations[i])}
                for i, upper in enumerate((*DURATIONS_S, None))
            ],
            "windows": round(totals.windows.total()),
            "routes": [
                {
                    "arch": route.arch,
                    "up_to_s": route.up_to_s,
                    "windows": round(totals.windows[index]),
                    "flops": totals.work[index],
                }
                for index, route in enumerate(self.spec.routes)
            ],
            "precision": self.spec.precision,
            "errors": _round_counts(totals.errors),
            "shards": self.n_shards,
            "output": {
                "is_estimate": True,
                "rows": {name: round(n) for name, n in self.rows.items()},
                "bytes_by_table": {name: round(n) for name, n in self.output_bytes.items()},
                "bytes": round(sum(self.output_bytes.values())),
            },
            "requests": {
                "is_estimate": True,
                "source": _nonzero_counts(self.source_requests),
                "table": _nonzero_counts(self.table_requests),
            },
            "decoding": _decode_cost_to_json(self.decoding),
            "devices": [_device_cost_to_json(each, self.decoding) for each in self.costs],
            "default_device": self.default_cost
            and _device_cost_to_json(self.default_cost, self.decoding),
        }

    def _sample_to_json(self) -> dict[str, Any] | None:
        if not self.survey.is_sample:
            return None
        error = self.survey.relative_error
        return {"clips": self.survey.looked, "audio_relative_standard_error": error}


def _nonzero_counts(requests: Counter[str]) -> dict[str, int]:
    return {kind: n for kind, n in sorted(requests.items()) if n}


def _round_counts(counts: Counter[Any]) -> dict[str, int]:
    return {str(key): round(n) for key, n in sorted(counts.items())}


def _device_cost_to_json(cost: DeviceCost, decoding: DecodeCost) -> dict[str, Any]:
    return {
        "name": cost.name,
        "hours": cost.hours,
        "price_per_h": cost.price_per_h,
        "money": cost.money,
        "decode_cores": decoding.cores_for(cost.hours),
        "work": [
            {
                "arch": route.arch,
                "work": route.work,
                "hours": route.hours,
                "money": None if cost.price_per_h is None else route.hours * cost.price_per_h,
                "figure": route.speed.measured.model_dump(),
                "is_converted": not route.speed.is_measured,
            }
            for route in cost.routes
        ],
    }


def _decode_cost_to_json(cost: DecodeCost) -> dict[str, Any]:
    return {
        "core": cost.core,
        "core_hours": cost.hours,
        "by_ending": [
            {
                "ending": each.ending,
                "audio_s": round(each.audio_s, 6),
                "core_hours": each.hours,
                "figure": each.speed.model_dump(),
                "is_counted_as_slowest": not each.is_measured,
            }
            for each in cost.endings
        ],
    }
