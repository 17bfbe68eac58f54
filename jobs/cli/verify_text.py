"""The run and the report of `passtream verify`, as text or JSON."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from rich.console import Console

from jobs.cli.options import console
from jobs.runtime.monitor import fidelity_text
from jobs.runtime.terminal import print_line, print_row
from jobs.settings.host_rules import apply_host_rules
from pipeline.maintenance.repair import repair
from pipeline.maintenance.verify import verify_table
from pipeline.maintenance.verify_report import Report
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.wording import count, time_text


def run_verify(
    location: str,
    sources: Sequence[str],
    as_json: bool,
    out: Console,
    options: SourceOptions,
    with_repair: bool = False,
    rules: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Verify a table and print the report.

    Args:
        location: Folder or URI of the table.
        sources: Sources whose clips the table must have; empty to check the table alone.
        as_json: Print JSON instead of text.
        out: Console to print to.
        options: Options for listing the sources, and for remote locations.
        with_repair: Remove leftovers of killed runs before the check.
        rules: Rules for hosts and URL parameters, by setting; None for the table's own rule.

    Returns:
        The exit code: 0 if the table passes, 1 if it does not.

    Raises:
        UsageError: There is no table at the location, or a source does not exist.
    """
    table = Table.existing(open_store(location, options.storage))
    options = apply_host_rules(options, rules, table.store)
    repair_notes = _repair(table) if with_repair else []
    if options.columns is None:
        options = replace(options, table_columns=table.spec.columns)
    listing = list_sources(sources, options) if sources else None
    report = verify_table(table, listing)
    report.notes = repair_notes + (listing.notes if listing else []) + report.notes
    if as_json:
        out.print(json.dumps(report.to_json() | _model_facts(table), indent=1))
    else:
        _print_report(report, table, out)
    return 0 if report.passed else 1


def _repair(table: Table) -> list[str]:
    with table.store.lock(lambda line: print_line(console(sys.stderr), line)) as table.commits.hold:
        return repair(table)


def _model_facts(table: Table) -> dict[str, Any]:
    return {
        "routes": [asdict(route) for route in table.spec.routes],
        "precision": table.spec.precision,
        "fidelity": table.fidelity,
    }


def _print_report(report: Report, table: Table, out: Console) -> None:
    for name, text in _lines(report, table):
        print_row(out, name, text, 11)
    for note in report.notes:
        print_line(out, f"note: {note}", 2)
    for problem in report.problems:
        print_line(out, f"PROBLEM: {problem}", 2)
    n_problems = count(len(report.problems), "problem")
    print_line(out, "passed" if report.passed else f"FAILED: {n_problems}")


def _lines(report: Report, table: Table) -> Iterator[tuple[str, str]]:
    rates = ", ".join(f"{rate} Hz {n}" for rate, n in sorted(report.sample_rates_hz.items()))
    errors = ", ".join(f"{name} {n}" for name, n in sorted(report.errors.items()))
    yield "table", table.store.location
    for route in table.spec.routes:
        yield "model", f"{route.arch} to {route.up_to_s:g} s, weights {route.weights_origin}"
    fidelity = f", {fidelity_text(table.fidelity)}" if table.fidelity else ""
    yield "precision", f"{table.spec.precision}{fidelity}"
    yield "shards", f"{report.shards} committed"
    yield "clips", f"{report.clips}, {time_text(report.audio_s)} ({rates or 'none'})"
    if "windows" in table.spec.tables:
        yield "windows", str(report.windows)
    if kind := table.spec.timestamps:
        yield "timestamps", f"{report.timestamps} ({kind}, {table.spec.timestamp_dim} wide)"
    yield "errors", f"{report.errors.total()}{f' ({errors})' if errors else ''}"
    yield "duplicates", count(report.duplicate_vectors, "embedding")
