"""The report of `passtream plan` as text: a name and a text per line."""

from collections import Counter
from collections.abc import Iterator

from jobs.plan.decode_cost import DecodeCost
from jobs.plan.device_cost import DeviceCost
from jobs.plan.plan_report import Count, PlanReport
from pipeline.io.signed_urls import strip_signature
from pipeline.planning.clip_estimate import UNKNOWN_LENGTH
from pipeline.planning.totals import DURATIONS_S
from pipeline.readers.intake import passed_over_text
from pipeline.wording import count, time_text

_MAX_SHOWN_SOURCES = 5
_MAX_SHOWN_RATES = 8


def plan_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Yield the lines of a report, each as a name and a text; the name may be empty."""
    sources = list(report.listing.formats.items())
    for source, format_ in sources[:_MAX_SHOWN_SOURCES]:
        yield "source", f"{strip_signature(source)}: {format_}"
    if (n_more := len(sources) - _MAX_SHOWN_SOURCES) > 0:
        yield "", f"and {n_more:,} more"
    yield "listed", report.listing.text()
    for note in report.listing.notes:
        yield "note", note
    yield from _table_lines(report)
    totals, survey = report.survey.tally, report.survey
    about = "about " if survey.is_sample else ""
    if survey.is_sample:
        error = survey.relative_error
        known = "not known, too few clips" if error is None else f"{100 * error:.1f} % (one sigma)"
        yield (
            "sample",
            f"{count(survey.looked, 'clip')} read, totals scaled up; error of the audio: {known}",
        )
    yield "clips", f"{about}{totals.clips:,.0f}, {_size_text(report.n_bytes)}"
    if totals.passed_over:
        yield "", f"passed over: {about}{passed_over_text(totals.passed_over)}"
    yield "audio", f"{about}{time_text(totals.audio_s)}"
    if n := totals.estimated.total():
        endings = _counts_text(totals.estimated)
        yield (
            "",
            f"{time_text(totals.estimated_s)} of it estimated: no exact length in the headers of "
            f"{count(n, 'clip')} ({endings})",
        )
    yield from _histogram_lines(report)
    yield from _window_lines(report, about)
    yield (
        "errors",
        f"{about}{totals.errors.total():,.0f}{_parenthesize(_counts_text(totals.errors))}",
    )
    if totals.errors[UNKNOWN_LENGTH]:
        yield (
            "",
            f"{UNKNOWN_LENGTH}: a run may embed these clips, but their length is not known before",
        )
    yield from _output_lines(report)
    yield from _decode_lines(report.decoding, about)
    for cost in report.costs:
        yield from _device_lines(cost)
        if n_cores := report.decoding.cores_for(cost.hours):
            core = report.decoding.core
            yield "", f"decode cores: {_number_text(n_cores)} of {core} keep one {cost.name} busy"
    if report.default_cost:
        yield from _default_device_lines(report.default_cost, report.spec.precision)
    elif report.costs:
        yield (
            "",
            "windows of other lengths, and archs that were not measured, are converted by FLOPs",
        )
    else:
        work = sum(totals.work.values())
        yield (
            "time",
            f"no known speed of a device in {report.spec.precision} ({work:.3g} FLOP); for hours, "
            "give --gpu NAME with --figures FILE, which bench model writes",
        )
    yield (
        "note",
        "from names and headers: damage that only decoding shows is not among the errors",
    )


def _table_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    if not report.table:
        return
    changes = report.changes
    if changes is None:
        yield "table", f"{report.table}: does not exist yet, so everything is new"
        return
    yield "table", report.table
    yield "new", _clips_text(changes.new)
    yield "changed", _clips_text(changes.changed)
    yield "gone", f"{_clips_text(changes.gone)}; their rows stay unless --prune is given"
    yield "done", f"{_clips_text(changes.done)}; the lines below count only new and changed clips"


def _histogram_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    totals = report.survey.tally
    rates = totals.rates.most_common(_MAX_SHOWN_RATES)
    more = len(totals.rates) - len(rates)
    shown = [f"{rate} Hz {n:,.0f}" for rate, n in rates] + ([f"{more} more"] if more > 0 else [])
    yield "rates", ", ".join(shown) or "none"
    bins = []
    for i, n in sorted(totals.durations.items()):
        lower = f"{DURATIONS_S[i - 1]:g}" if i else "0"
        bins.append(
            f"{lower} to {DURATIONS_S[i]:g} s {n:,.0f}"
            if i < len(DURATIONS_S)
            else f"over {lower} s {n:,.0f}"
        )
    yield "durations", ", ".join(bins) or "none"


def _window_lines(report: PlanReport, about: str) -> Iterator[tuple[str, str]]:
    totals = report.survey.tally
    name = "windows"
    for index, route in enumerate(report.spec.routes):
        n = totals.windows[index]
        yield name, f"{about}{n:,.0f} through {route.arch} (to {route.up_to_s:g} s)"
        name = ""
    if totals.timestamps:
        kind = report.spec.timestamps
        yield "timestamps", f"{about}{totals.timestamps:,.0f} ({kind})"


def _output_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    tables = ", ".join(
        f"{name} {_size_text(n)}" for name, n in report.output_bytes.items() if report.rows[name]
    )
    total = _size_text(sum(report.output_bytes.values()))
    yield (
        "output",
        f"about {total} in {count(report.n_shards, 'shard')}{_parenthesize(tables)}: estimated "
        "from the widths of rows",
    )
    for name, requests in (("source", report.source_requests), ("table", report.table_requests)):
        if requests.total():
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(requests.items()) if n)
            yield "requests", f"about {kinds}, to the {name}'s store"


def _decode_lines(cost: DecodeCost, about: str) -> Iterator[tuple[str, str]]:
    if not cost.endings:
        return
    measured = [each.speed for each in cost.endings if each.is_measured]
    rates = [f"{speed.ending} {_number_text(speed.audio_s_per_core_s)}" for speed in measured]
    origin = f"; from {', '.join(rates)} times real time" if rates else ""
    yield "decoding", f"{about}{time_text(cost.hours * 3600)} of one core of {cost.core}{origin}"
    if others := [each for each in cost.endings if not each.is_measured]:
        slowest = others[0].speed
        yield (
            "",
            f"{', '.join(each.ending for each in others)}: not measured there, counted as the "
            f"slowest measured, {slowest.ending} {_number_text(slowest.audio_s_per_core_s)}",
        )


def _device_lines(cost: DeviceCost) -> Iterator[tuple[str, str]]:
    money = "" if cost.money is None else f", {cost.money:,.2f} at {cost.price_per_h:g} per hour"
    yield cost.name, f"{time_text(cost.hours * 3600)} of one device, for the model alone{money}"
    for route in cost.routes:
        measured = route.speed.measured
        share = ""
        if cost.price_per_h is not None and len(cost.routes) > 1:
            share = f", {route.hours * cost.price_per_h:,.2f}"
        rate = f"{measured.windows_per_s:g} windows of {measured.window_s:g} s per second"
        origin = f"{rate} in {measured.precision}"
        if not route.speed.is_measured:
            origin += f" of {measured.arch}"
        time = time_text(route.hours * 3600)
        yield "", f"{route.arch}, {route.work}: {time}{share}; from {origin}"


def _default_device_lines(cost: DeviceCost, precision: str) -> Iterator[tuple[str, str]]:
    """Yield the time of a run on the default device, and how to get that of others."""
    yield (
        "time",
        f"about {time_text(cost.hours * 3600)} on {cost.name} in {precision}, the model alone",
    )
    yield (
        "",
        "other devices: --gpu NAME; this machine: passtream bench model --cases windows --figures "
        "FILE --name NAME, then plan with --figures FILE",
    )


def _clips_text(n: Count) -> str:
    parts = [count(n.clips, "clip")] if n.clips or not n.containers else []
    if n.containers:
        parts.append(count(n.containers, "container"))
    return " and ".join(parts)


def _counts_text(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,.0f}" for name, n in sorted(counts.items()))


def _parenthesize(text: str) -> str:
    return f" ({text})" if text else ""


def _size_text(n_bytes: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.2f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"


def _number_text(n: float) -> str:
    """Format a number with two or more digits: it may be thousands, or a hundredth."""
    if n >= 100:
        return f"{n:,.0f}"
    return f"{n:.1f}" if n >= 1 else f"{n:.2g}"
