"""`passtream verify`: the report of `pipeline.verify` for people and for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from rich.console import Console

from jobs.list_rules import with_rules
from jobs.monitor import fidelity_text
from jobs.options import console
from jobs.terminal import print_line
from pipeline.report import Report
from pipeline.rewrite import repair
from pipeline.sources.listing import SourceOptions
from pipeline.sources.recognize import list_sources
from pipeline.stores import open_store
from pipeline.table import Table
from pipeline.verify import verify_table


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
        location: folder or URI of the table.
        sources: that it has to hold; none are not compared.
        as_json: print it for programs.
        out: takes the report.
        options: how the sources are to be taken, and remote locations reached.
        with_repair: first remove what a killed run has left.
        rules: What lists may name, by the names of settings; None values are as the table's.

    Returns:
        0 where it passes, 1 where it does not.

    Raises:
        UsageError: there is no table, or no such source.
    """
    table = Table.existing(open_store(location, options.storage))
    options = with_rules(options, rules, table.store)
    done = _repaired(table) if with_repair else []
    if options.columns is None:
        options = replace(options, table_columns=table.spec.columns)
    listing = list_sources(sources, options) if sources else None
    report = verify_table(table, listing)
    report.notes = done + (listing.notes if listing else []) + report.notes
    if as_json:
        out.print(json.dumps(report.to_json() | _made_with(table), indent=1))
    else:
        _print(report, table, out)
    return 0 if report.passed else 1


def _repaired(table: Table) -> list[str]:
    with table.store.lock(lambda line: print_line(console(sys.stderr), line)) as table.hold:
        return repair(table)


def _made_with(table: Table) -> dict[str, Any]:
    return {
        "routes": [asdict(route) for route in table.spec.routes],
        "precision": table.spec.precision,
        "fidelity": table.fidelity,
    }


def _print(report: Report, table: Table, out: Console) -> None:
    rates = ", ".join(f"{rate} Hz {n}" for rate, n in sorted(report.sample_rates_hz.items()))
    errors = ", ".join(f"{name} {n}" for name, n in sorted(report.errors.items()))
    print_line(out, f"table       {table.store.location}")
    for route in table.spec.routes:
        print_line(
            out, f"model       {route.arch} to {route.up_to_s:g} s, weights {route.weights_origin}"
        )
    cost = f", {fidelity_text(table.fidelity)}" if table.fidelity else ""
    print_line(out, f"precision   {table.spec.precision}{cost}")
    print_line(out, f"shards      {report.shards} committed")
    print_line(
        out, f"clips       {report.clips}, {report.audio_s / 3600:.3f} h ({rates or 'none'})"
    )
    if "windows" in table.spec.tables:
        print_line(out, f"windows     {report.windows}")
    if kind := table.spec.timestamps:
        print_line(
            out, f"timestamps  {report.timestamps} ({kind}, {table.spec.timestamp_dim} wide)"
        )
    print_line(out, f"errors      {report.errors.total()}{f' ({errors})' if errors else ''}")
    print_line(out, f"duplicates  {report.duplicate_vectors} embeddings")
    for note in report.notes:
        print_line(out, f"note: {note}")
    for problem in report.problems:
        print_line(out, f"PROBLEM: {problem}")
    print_line(out, "passed" if report.passed else f"FAILED: {len(report.problems)} problems")
