"""What `passtream plan` has found, for people: a name and a text a line."""

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

SOURCES_SHOWN = 5
_RATES_SHOWN = 8


def plan_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    """What was found, line by line."""
    sources = list(report.listing.formats.items())
    for source, format_ in sources[:SOURCES_SHOWN]:
        yield "source", f"{strip_signature(source)}: {format_}"
    if len(sources) > SOURCES_SHOWN:
        yield "", f"and {len(sources) - SOURCES_SHOWN:,} more"
    yield "listed", report.listing.text()
    for note in report.listing.notes:
        yield "note", note
    yield from _table_lines(report)
    tally, survey = report.survey.tally, report.survey
    about = "about " if survey.is_sample else ""
    if survey.is_sample:
        error = survey.relative_error
        known = "not known of so few" if error is None else f"{100 * error:.1f} % (one sigma)"
        yield (
            "sample",
            f"{count(survey.looked, 'clip')} of all, looked at and scaled up; error of the "
            f"audio: {known}",
        )
    yield "clips", f"{about}{tally.clips:,.0f}, {_size(report.n_bytes)}"
    if tally.passed_over:
        yield "", f"passed over: {about}{passed_over_text(tally.passed_over)}"
    yield "audio", f"{about}{time_text(tally.audio_s)}"
    if n := tally.estimated.total():
        endings = _counted(tally.estimated)
        yield (
            "",
            f"{time_text(tally.estimated_s)} of it estimated: no exact length in the headers of "
            f"{count(n, 'clip')} ({endings})",
        )
    yield from _histograms(report)
    yield from _windows(report, about)
    yield "errors", f"{about}{tally.errors.total():,.0f}{_in_brackets(_counted(tally.errors))}"
    if tally.errors[UNKNOWN_LENGTH]:
        yield "", f"{UNKNOWN_LENGTH}: may well be embedded, but nothing tells how long they are"
    yield from _output(report)
    yield from _decoding(report.decoding, about)
    for cost in report.costs:
        yield from _device(cost)
        if n_cores := report.decoding.cores_for(cost.hours):
            core = report.decoding.core
            yield "", f"decode cores: {_count(n_cores)} of {core} keep one {cost.name} busy"
    if report.default_cost:
        yield from _default_device(report.default_cost, report.spec.precision)
    elif report.costs:
        yield "", "windows of other lengths, and archs without a figure, are converted by FLOPs"
    else:
        work = sum(tally.work.values())
        yield (
            "time",
            f"no figure of a device in {report.spec.precision} ({work:.3g} FLOP); --gpu NAME with "
            "--figures FILE, which bench model measures, gives hours",
        )
    yield (
        "note",
        "from names and headers: damage that only decoding shows is not among the errors",
    )


def _table_lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    if not report.table:
        return
    found = report.changes
    if found is None:
        yield "table", f"{report.table}: not there yet, so all is new"
        return
    yield "table", report.table
    yield "new", _things(found.new)
    yield "changed", _things(found.changed)
    yield "gone", f"{_things(found.gone)}; their rows stay unless --prune is given"
    yield "done", f"{_things(found.done)}; what follows is of new and changed ones"


def _histograms(report: PlanReport) -> Iterator[tuple[str, str]]:
    tally = report.survey.tally
    rates = tally.rates.most_common(_RATES_SHOWN)
    more = len(tally.rates) - len(rates)
    shown = [f"{rate} Hz {n:,.0f}" for rate, n in rates] + ([f"{more} more"] if more > 0 else [])
    yield "rates", ", ".join(shown) or "none"
    bins = []
    for i, n in sorted(tally.durations.items()):
        lower = f"{DURATIONS_S[i - 1]:g}" if i else "0"
        bins.append(
            f"{lower} to {DURATIONS_S[i]:g} s {n:,.0f}"
            if i < len(DURATIONS_S)
            else f"over {lower} s {n:,.0f}"
        )
    yield "durations", ", ".join(bins) or "none"


def _windows(report: PlanReport, about: str) -> Iterator[tuple[str, str]]:
    tally = report.survey.tally
    name = "windows"
    for place, route in enumerate(report.spec.routes):
        n = tally.windows[place]
        yield name, f"{about}{n:,.0f} through {route.arch} (to {route.up_to_s:g} s)"
        name = ""
    if tally.timestamps:
        kind = report.spec.timestamps
        yield "timestamps", f"{about}{tally.timestamps:,.0f} ({kind})"


def _output(report: PlanReport) -> Iterator[tuple[str, str]]:
    tables = ", ".join(
        f"{name} {_size(n)}" for name, n in report.output_bytes.items() if report.rows[name]
    )
    in_all = _size(sum(report.output_bytes.values()))
    yield (
        "output",
        f"about {in_all} in {count(report.n_shards, 'shard')}{_in_brackets(tables)}: estimated "
        "from the widths of rows",
    )
    for name, asked in (("source", report.source_requests), ("table", report.table_requests)):
        if asked.total():
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(asked.items()) if n)
            yield "requests", f"about {kinds}, to the {name}'s store"


def _decoding(cost: DecodeCost, about: str) -> Iterator[tuple[str, str]]:
    if not cost.endings:
        return
    measured = [each.speed for each in cost.endings if each.is_measured]
    rates = [f"{figure.ending} {_count(figure.audio_s_per_core_s)}" for figure in measured]
    known = f"; from {', '.join(rates)} times real time" if rates else ""
    yield "decoding", f"{about}{time_text(cost.hours * 3600)} of one core of {cost.core}{known}"
    if others := [each for each in cost.endings if not each.is_measured]:
        figure = others[0].speed
        yield (
            "",
            f"{', '.join(each.ending for each in others)}: not measured there, counted as the "
            f"slowest that was, {figure.ending} {_count(figure.audio_s_per_core_s)}",
        )


def _device(cost: DeviceCost) -> Iterator[tuple[str, str]]:
    money = "" if cost.money is None else f", {cost.money:,.2f} at {cost.price_per_h:g} an hour"
    yield cost.name, f"{time_text(cost.hours * 3600)} of one, for the model alone{money}"
    for route in cost.routes:
        figure = route.speed.measured
        share = ""
        if cost.price_per_h is not None and len(cost.routes) > 1:
            share = f", {route.hours * cost.price_per_h:,.2f}"
        rate = f"{figure.windows_per_s:g} windows of {figure.window_s:g} s a second"
        known = f"{rate} in {figure.precision}"
        of = "" if route.speed.is_measured else f" of {figure.arch}"
        time = time_text(route.hours * 3600)
        yield "", f"{route.arch}, {route.work}: {time}{share}; from {known}{of}"


def _default_device(cost: DeviceCost, precision: str) -> Iterator[tuple[str, str]]:
    """Yield the time of a run on the device that is taken where none is named."""
    yield (
        "time",
        f"about {time_text(cost.hours * 3600)} on {cost.name} in {precision}, the model alone",
    )
    yield (
        "",
        "other devices: --gpu NAME; this machine: passtream bench model --cases windows --figures "
        "FILE --name NAME, then plan with --figures FILE",
    )


def _things(found: Count) -> str:
    parts = [count(found.clips, "clip")] if found.clips or not found.containers else []
    if found.containers:
        parts.append(count(found.containers, "container"))
    return " and ".join(parts)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,.0f}" for name, n in sorted(counts.items()))


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _size(n_bytes: float) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.2f} {unit}"
    return f"{n_bytes / 1e3:,.1f} kB"


def _count(n: float) -> str:
    """With what digits matter: a device may need many cores, or a hundredth of one."""
    if n >= 100:
        return f"{n:,.0f}"
    return f"{n:.1f}" if n >= 1 else f"{n:.2g}"
