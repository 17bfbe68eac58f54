"""Prints the results of `gpu_check.sh` as a Markdown table.

Run as `python3 infra/gpu_table.py OUT`. Steps of the check that left no file are left out.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(out: Path) -> None:
    """Print the versions, the table, the details and the summary of the tests, from a folder."""
    print((out / "versions.txt").read_text() if (out / "versions.txt").exists() else "")
    print("| work | who | median s | of bf16 GEMMs | windows/s | times passtream's |")
    print("|---|---|---|---|---|---|")
    lines = list(_read_json_lines(out))
    for result in (line["result"] for line in lines if "result" in line):
        cells = [
            result["work"],
            result["who"],
            f"{result['median_s']:.4g}",
            _format_optional(result["of_bf16_gemm"], ".2f"),
            _format_optional(result["windows_per_s"], ".4g"),
            f"{result['times_ours']:.2f}",
        ]
        print(f"| {' | '.join(cells)} |")
    print()
    for line in lines:
        _print_details(line)
    tests = out / "tests.txt"
    if tests.exists():
        print("gpu tests:", (tests.read_text().strip().splitlines() or ["no output"])[-1])
    log = out / "log.txt"
    if log.exists():
        print("\n".join(line for line in log.read_text().splitlines() if ": exit code " in line))


def _read_json_lines(out: Path) -> Iterator[dict[str, Any]]:
    for name in ("windows", "cases", "kernels", "rest"):
        path = out / f"{name}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                yield json.loads(line)
            except ValueError:  # the step was stopped in the middle of writing a line
                print(f"{path.name}: {line[:200]}")


def _print_details(line: dict[str, Any]) -> None:
    fidelity = line.get("result", {}).get("fidelity") or {}
    for kind, found in fidelity.items():
        print(
            f"{line['result']['work']}: cosine to fp32 on {kind} {found['cosine_mean']:.6f}, "
            f"at least {found['cosine_min']:.6f}"
        )
    if line.get("result", {}).get("peak_memory_bytes"):
        print(f"{line['result']['work']}: {line['result']['peak_memory_bytes'] / 1e9:.2f} GB")
    if memory := line.get("memory"):
        print(
            f"memory, {memory['work']}: {memory['after_a_tenth_bytes'] / 1e9:.2f} GB after a "
            f"tenth, {memory['at_the_end_bytes'] / 1e9:.2f} GB at the end"
        )
    if kernels := line.get("kernels"):
        print(f"kernels of {kernels['work']}, {kernels['seconds']:.4f} s:")
        for each in kernels["kernels"]:
            print(f"{each['seconds'] / kernels['seconds']:7.1%} {each['calls']:5} {each['name']}")


def _format_optional(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
