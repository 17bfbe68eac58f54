"""What `passtream plan` has found, for programs: one JSON object."""

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
    """Of clips, and of containers, whose clips nobody has counted."""

    clips: int
    containers: int


@dataclass(frozen=True, slots=True)
class Changes:
    """A listing beside a table.

    Attributes:
        new: that the table does not have.
        changed: that it has of an older version.
        gone: that it has and the listing does not.
        done: that it has as they are.
    """

    new: Count
    changed: Count
    gone: Count
    done: Count


def count_changes(listing: Listing, run: Plan) -> Changes:
    """What a run's plan makes of a listing.

    Args:
        listing: of the sources.
        run: what it leaves to be done.
    """
    older_clips = {(e.uri, e.member) for e in run.changed if isinstance(e, ClipRef)}
    older_files = {e.uri for e in run.changed if isinstance(e, Container)}
    clips = [clip for shard in run.pending for clip in shard.clips]
    containers = [shard.container for shard in run.pending if shard.container]
    changed = Count(
        sum((clip.uri, clip.member) in older_clips for clip in clips),
        # A file that was written anew may be divided anew.
        sum(container.uri in older_files for container in containers),
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
    """What a run would have to do, and what that takes.

    Attributes:
        listing: of the sources.
        spec: of the table.
        table: where it lies; empty where none was named.
        changes: of the listing from the table; None where there is none yet.
        survey: of what is to be embedded.
        n_bytes: of its files.
        n_shards: it is done in.
        rows: about how many each table gets.
        output_bytes: about how many each table gets.
        source_requests: to the stores that the sources lie in.
        table_requests: to the store that the table lies in.
        costs: of each device that was asked for.
        decoding: what it takes of a core.
        default_cost: Of the device that is taken where none was asked for; None where one was, or
            where it has no figure in this precision.
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
        """For programs; numbers of a sample are scaled up, and rounded where they count things."""
        tally = self.survey.tally
        return {
            "sources": {strip_signature(s): f for s, f in self.listing.formats.items()},
            "notes": self.listing.notes,
            "skipped_files": dict(sorted(self.listing.skipped.items())),
            "table": self.table or None,
            "changes": asdict(self.changes) if self.changes else None,
            "sample": self._sample(),
            "clips": round(tally.clips),
            "clips_to_embed": round(tally.embedded),
            "passed_over_members": _rounded(tally.passed_over),
            "audio_s": round(tally.audio_s, 6),
            "audio_h": tally.audio_s / 3600,
            "bytes": round(self.n_bytes),
            "estimated": {
                "clips": round(tally.estimated.total()),
                "audio_s": round(tally.estimated_s, 6),
                "by_ending": _rounded(tally.estimated),
            },
            "sample_rates_hz": _rounded(tally.rates),
            "durations_s": [
                {"up_to_s": upper, "clips": round(tally.durations[i])}
                for i, upper in enumerate((*DURATIONS_S, None))
            ],
            "windows": round(tally.windows.total()),
            "routes": [
                {
                    "arch": route.arch,
                    "up_to_s": route.up_to_s,
                    "windows": round(tally.windows[place]),
                    "flops": tally.work[place],
                }
                for place, route in enumerate(self.spec.routes)
            ],
            "precision": self.spec.precision,
            "errors": _rounded(tally.errors),
            "shards": self.n_shards,
            "output": {
                "is_estimate": True,
                "rows": {name: round(n) for name, n in self.rows.items()},
                "bytes_by_table": {name: round(n) for name, n in self.output_bytes.items()},
                "bytes": round(sum(self.output_bytes.values())),
            },
            "requests": {
                "is_estimate": True,
                "source": _counts(self.source_requests),
                "table": _counts(self.table_requests),
            },
            "decoding": _decoding(self.decoding),
            "devices": [_cost(each, self.decoding) for each in self.costs],
            "default_device": self.default_cost and _cost(self.default_cost, self.decoding),
        }

    def _sample(self) -> dict[str, Any] | None:
        if not self.survey.is_sample:
            return None
        error = self.survey.relative_error
        return {"clips": self.survey.looked, "audio_relative_standard_error": error}


def _counts(requests: Counter[str]) -> dict[str, int]:
    return {kind: n for kind, n in sorted(requests.items()) if n}


def _rounded(counts: Counter[Any]) -> dict[str, int]:
    return {str(key): round(n) for key, n in sorted(counts.items())}


def _cost(cost: DeviceCost, decoding: DecodeCost) -> dict[str, Any]:
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


def _decoding(cost: DecodeCost) -> dict[str, Any]:
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
