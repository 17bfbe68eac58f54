"""`passtream bench model`: the speed of PaSST, compared with the reference and with plain GEMMs.

The module needs only `models`, numpy, torch and torchaudio. `python -m jobs.bench.model` therefore
runs on a GPU machine without Ray, the decoders or the libraries of the command line. The reference
package is imported only if the benchmark compares with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs.bench.benchmark import Case, Report, describe_machine
from jobs.bench.gemm import BF16_GEMM, GEMM
from jobs.bench.model_cases import OURS, ModelCases
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
    from jobs.plan.speeds import SpeedFile  # needs pydantic, which may be missing


def run_bench(
    options: BenchOptions,
    report: Report = print,
    speed_file: SpeedFile | None = None,
    as_json: bool = False,
) -> None:
    """Time every case and report a Markdown table of medians, or JSON, case by case.

    Args:
        options: Options of the benchmark.
        report: Function that is called with each line of the report.
        speed_file: File to which the measured windows per second are added; None to save nothing.
        as_json: Report one JSON object per line instead of the table: first `machine`, then each
            `result`, `memory` and `kernels`.

    Raises:
        ModelError: An option is invalid, a recording cannot be read, or the device or the
            reference is not available.
        UsageError: The measured speeds cannot be saved.
    """
    options.check()
    if speed_file:
        speed_file.check("windows" in options.cases)
    sounds = [samples for path in options.sounds for samples in read_wav_windows(path)]
    report_text: Report = (lambda _: None) if as_json else report

    def report_json(**content: Any) -> None:
        if as_json:
            report(json.dumps(content))

    machine = describe_machine(options.device, (options.against,) if options.against else ())
    report_text(machine)
    report_json(machine=machine)
    report_text("")
    report_text(
        f"| work | implementation | median s | GFLOP/s | of bf16 GEMMs | windows/s | "
        f"audio h per hour | times {OURS}'s | |"
    )
    report_text("|---|---|---|---|---|---|---|---|---|")
    rows: list[dict[str, Any]] = []
    last_lines: list[str] = []
    for arch in options.archs:
        cases = ModelCases(arch_spec(arch), options.device, options.against, sounds)
        for name in options.cases:
            if name == "memory":
                memory = {"arch": arch, **cases.memory()}
                report_json(memory=memory)
                last_lines.append(_memory_line(memory))
                continue
            if name == "kernels":
                kernels = cases.kernels()
                report_json(kernels=kernels)
                last_lines += _kernel_lines(kernels)
                continue
            for case in _make_cases(cases, name, options):
                case.run(options.repeats, cases.device)
                for row in _rows(case, arch):
                    rows.append(row)
                    report_json(result=row)
                    report_text(_line(row, case.note))
    report_text("")
    for line in last_lines:
        report_text(line)
    if speed_file:
        _save_speeds(speed_file, machine, rows)
        report_text(f"saved to {speed_file.path} as {speed_file.name}")


def _memory_line(memory: dict[str, Any]) -> str:
    return (
        f"memory, {memory['arch']}, {memory['work']}: "
        f"{memory['after_a_tenth_bytes'] / 1e9:.2f} GB after a tenth of the windows, "
        f"{memory['at_the_end_bytes'] / 1e9:.2f} GB at the end"
    )


def _kernel_lines(kernels: dict[str, Any]) -> list[str]:
    lines = [f"kernels of {kernels['work']}, {kernels['seconds']:.4f} s in total:"]
    for each in kernels["kernels"]:
        share = each["seconds"] / kernels["seconds"]
        lines.append(f"{share:6.1%} {each['calls']:>5} times {each['name']}")
    return lines


def _make_cases(cases: ModelCases, name: str, options: BenchOptions) -> Iterator[Case]:
    """Yield the benchmark cases of a name, made one at a time because each uses device memory."""
    if name != "windows":
        make = {"mix": cases.mix, "timestamps": cases.timestamps, "long": cases.long_clip}
        yield make[name]()
        return
    for length_s in options.lengths_s or (cases.spec.max_window_s,):
        for index, precision in enumerate(options.precisions or DEFAULT_PRECISIONS[options.device]):
            # The reference has a single precision, so one measurement per length is enough.
            yield cases.windows(precision, length_s, with_reference=index == 0)


def _rows(case: Case, arch: str) -> list[dict[str, Any]]:
    """Return a row per implementation; our own row also has the facts of the case."""
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
    def cell(key: str, form: str) -> str:
        return "" if row[key] is None else format(row[key], form)

    note = note if row["who"] == OURS else ""
    return (
        f"| {row['work']}, {row['arch']} | {row['who']} | {row['median_s']:.4g} | "
        f"{row['flops_per_s'] / 1e9:.0f} | {cell('of_bf16_gemm', '.2f')} | "
        f"{cell('windows_per_s', '.4g')} | {cell('audio_h_per_h', '.4g')} | "
        f"{row['times_ours']:.2f} | {note} |"
    )


def _save_speeds(speed_file: SpeedFile, machine: str, rows: list[dict[str, Any]]) -> None:
    from jobs.plan.speeds import MeasuredSpeed

    for row in rows:
        if row["who"] == OURS and row["windows_per_s"]:
            speed_file.save_device_speed(
                MeasuredSpeed(
                    arch=row["arch"],
                    precision=row["precision"],
                    windows_per_s=round(row["windows_per_s"], 4),
                    window_s=row["window_s"],
                    batch_windows=row["batch_windows"],
                    measured_on=machine,
                )
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m jobs.bench.model`, which has the options of `passtream bench model`.

    Args:
        arguments: Command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser("python -m jobs.bench.model", description=__doc__)
    add_options(parser)
    given = vars(parser.parse_args(arguments))
    as_json = given.pop("json")
    try:
        run_bench(parse_bench_options(**given), report=_print_flushed, as_json=as_json)
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print_flushed(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
