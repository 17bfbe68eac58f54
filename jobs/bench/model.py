"""`passtream bench model`: how fast PaSST runs here, beside the reference and beside plain GEMMs.

Needs no more than `models`, numpy and torch, so `python -m jobs.bench.model` runs on a machine that
has a GPU and nothing else of ours: Ray, the decoders and the libraries of the command line are not
imported. The reference package is imported only to be raced against.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs.bench.benchmark import Case, Report, describe_machine
from jobs.bench.model_cases import BF16_GEMM, GEMM, OURS, ModelCases
from jobs.bench.model_options import (
    DEFAULT_PRECISIONS,
    BenchOptions,
    add_options,
    parse_bench_options,
)
from jobs.bench.wav_input import read_wav_windows
from models.archs import arch_spec
from models.errors import ModelError

if TYPE_CHECKING:
    from jobs.plan.speeds import SpeedFile  # pydantic need not be there


def run_bench(
    options: BenchOptions,
    report: Report = print,
    figures: SpeedFile | None = None,
    as_json: bool = False,
) -> None:
    """Race every case and report a Markdown table of medians, or JSON, each case when it is done.

    Args:
        options: what to measure.
        report: takes the lines.
        figures: where to keep how fast windows were embedded; None for nowhere.
        as_json: An object a line instead of the table: the machine, then each `result` and what
            was found of `memory` and `kernels`.

    Raises:
        ModelError: something of this cannot be had.
        UsageError: the figures cannot be kept.
    """
    options.check()
    if figures:
        figures.check("windows" in options.cases)
    sounds = [samples for path in options.sounds for samples in read_wav_windows(path)]
    told: Report = (lambda _: None) if as_json else report

    def tell(**what: Any) -> None:
        if as_json:
            report(json.dumps(what))

    where = describe_machine(options.device, (options.against,) if options.against else ())
    told(where)
    tell(machine=where)
    told("")
    told(
        f"| work | who | median s | GFLOP/s | of bf16 GEMMs | windows/s | audio h an hour | "
        f"times {OURS}'s | |"
    )
    told("|---|---|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    last: list[str] = []
    for arch in options.archs:
        cases = ModelCases(arch_spec(arch), options.device, options.against, sounds)
        for name in options.cases:
            if name == "memory":
                memory = {"arch": arch, **cases.memory()}
                tell(memory=memory)
                last.append(_memory_line(memory))
                continue
            if name == "kernels":
                kernels = cases.kernels()
                tell(kernels=kernels)
                last += _kernel_lines(kernels)
                continue
            for case in _cases(cases, name, options):
                case.run(options.repeats, cases.device)
                for row in _rows(case, arch):
                    rows.append(row)
                    tell(result=row)
                    told(_line(row, case.note))
    told("")
    for line in last:
        told(line)
    if figures:
        _keep(figures, where, rows)
        told(f"kept in {figures.path} as {figures.name}")


def _memory_line(memory: dict[str, Any]) -> str:
    return (
        f"memory, {memory['arch']}, {memory['work']}: "
        f"{memory['after_a_tenth_bytes'] / 1e9:.2f} GB after a tenth of them, "
        f"{memory['at_the_end_bytes'] / 1e9:.2f} GB at the end"
    )


def _kernel_lines(kernels: dict[str, Any]) -> list[str]:
    lines = [f"kernels of {kernels['work']}, {kernels['seconds']:.4f} s in all:"]
    for each in kernels["kernels"]:
        share = each["seconds"] / kernels["seconds"]
        lines.append(f"{share:6.1%} {each['calls']:>5} times {each['name']}")
    return lines


def _cases(cases: ModelCases, name: str, options: BenchOptions) -> Iterator[Case]:
    """One after the other, as each takes memory of the device."""
    if name != "windows":
        make = {"mix": cases.mix, "timestamps": cases.timestamps, "long": cases.long_clip}
        yield make[name]()
        return
    for length_s in options.lengths_s or (cases.spec.max_window_s,):
        for nth, precision in enumerate(options.precisions or DEFAULT_PRECISIONS[options.device]):
            # The rival has one precision, and is no faster the second time.
            yield cases.windows(precision, length_s, with_rival=not nth)


def _rows(case: Case, arch: str) -> list[dict[str, Any]]:
    """A row a contestant, ours with what is known of it alone."""
    ours_s = case.median_s(OURS)
    gemm_s = next((case.median_s(n) for n in (BF16_GEMM, GEMM) if n in case.implementations), None)
    rows = []
    for who in case.implementations:
        median_s = case.median_s(who)
        row = {
            "work": case.name,
            "arch": arch,
            "who": who,
            "median_s": median_s,
            "flops_per_s": case.flops / median_s,
            "of_bf16_gemm": gemm_s / median_s if gemm_s else None,
            "times_ours": median_s / ours_s,
            "windows_per_s": None,
            "audio_h_per_h": None,
        }
        if "GEMM" not in who:
            row["audio_h_per_h"] = case.audio_s / median_s
            if window_s := case.facts.get("window_s"):
                row["windows_per_s"] = case.audio_s / window_s / median_s
        if who == OURS:
            row |= case.facts
        rows.append(row)
    return rows


def _line(row: dict[str, Any], note: str) -> str:
    def shown(key: str, form: str) -> str:
        return "" if row[key] is None else format(row[key], form)

    note = note if row["who"] == OURS else ""
    return (
        f"| {row['work']}, {row['arch']} | {row['who']} | {row['median_s']:.4g} | "
        f"{row['flops_per_s'] / 1e9:.0f} | {shown('of_bf16_gemm', '.2f')} | "
        f"{shown('windows_per_s', '.4g')} | {shown('audio_h_per_h', '.4g')} | "
        f"{row['times_ours']:.2f} | {note} |"
    )


def _keep(figures: SpeedFile, where: str, rows: list[dict[str, Any]]) -> None:
    from jobs.plan.speeds import MeasuredSpeed

    for row in rows:
        if row["who"] == OURS and row["windows_per_s"]:
            figures.save_device_speed(
                MeasuredSpeed(
                    arch=row["arch"],
                    precision=row["precision"],
                    windows_per_s=round(row["windows_per_s"], 4),
                    window_s=row["window_s"],
                    batch_windows=row["batch_windows"],
                    measured_on=where,
                )
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m jobs.bench.model`, with the options of `passtream bench model`.

    Args:
        arguments: of the command; None for the process's.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser("python -m jobs.bench.model", description=__doc__)
    add_options(parser)
    given = vars(parser.parse_args(arguments))
    as_json = given.pop("json")
    try:
        run_bench(parse_bench_options(**given), report=_flushed, as_json=as_json)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _flushed(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
