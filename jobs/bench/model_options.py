"""Options of `passtream bench model`, and their parsing from a command line."""

import argparse
from dataclasses import dataclass

import torch

from jobs.bench.model_help import DEFAULT_CASES, HELP
from jobs.bench.reference import REFERENCE
from models.archs import DEFAULT_ARCH, SAMPLE_RATE_HZ, arch_spec
from models.errors import ModelError
from models.passt.precision import PRECISIONS

DEVICES = ("cpu", "cuda")
CASES = ("windows", "mix", "timestamps", "long", "memory", "kernels")
DEFAULT_PRECISIONS = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "tf32", "bf16", "fp16")}


@dataclass(frozen=True)
class BenchOptions:
    """Options of a benchmark of the model.

    Attributes:
        archs: Names of PaSST archs.
        device: `cpu` or `cuda`.
        against: `hear21passt` to time the reference as well, else None.
        cases: Names of cases, from `CASES`.
        precisions: Precisions of the case `windows`; empty for the device's defaults.
        lengths_s: Lengths of the windows in seconds; empty for the longest of each arch.
        repeats: Number of measured rounds of each case.
        sounds: Paths of WAV files on which fidelity is measured, in addition to noise.
    """

    archs: tuple[str, ...]
    device: str
    against: str | None
    cases: tuple[str, ...]
    precisions: tuple[str, ...]
    lengths_s: tuple[float, ...]
    repeats: int
    sounds: tuple[str, ...]

    def check(self) -> None:
        """Check the options before anything is measured.

        Raises:
            ModelError: An option has an unknown or invalid value, or there is no GPU.
        """
        if self.against not in (None, REFERENCE):
            raise ModelError(f"against must be {REFERENCE} (got {self.against!r})")
        for name, value, known in (
            ("device", self.device, DEVICES),
            *(("cases", case, CASES) for case in self.cases),
            *(("precisions", precision, PRECISIONS) for precision in self.precisions),
        ):
            if value not in known:
                raise ModelError(f"{name} must be one of {', '.join(known)} (got {value!r})")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ModelError("device cuda: torch sees no GPU here; use --device cpu")
        if self.repeats < 1:
            raise ModelError(f"repeats must be at least 1 (got {self.repeats})")
        for spec in map(arch_spec, self.archs):
            for length_s in self.lengths_s:
                least, most = spec.min_samples / SAMPLE_RATE_HZ, spec.max_window_s
                if not least <= length_s <= most:
                    raise ModelError(
                        f"lengths of arch {spec.name!r} must be {least:.2f} to {most:g} s "
                        f"(got {length_s:g})"
                    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `parse_bench_options` takes, and `--json`, to a parser."""
    defaults = {
        "arch": DEFAULT_ARCH,
        "device": "cpu",
        "cases": DEFAULT_CASES,
        "repeats": 3,
    }
    for name, text in HELP.items():
        if name == "json":
            parser.add_argument("--json", action="store_true", help=text)
        else:
            parser.add_argument(f"--{name}", default=defaults.get(name, ""), help=text)


def parse_bench_options(
    arch: str,
    device: str,
    against: str,
    cases: str,
    precisions: str,
    lengths: str,
    repeats: int | str,
    sounds: str,
) -> BenchOptions:
    """Parse the options of a command line, in which lists are separated by commas.

    Raises:
        ModelError: A value of `lengths` or `repeats` is not a number.
    """
    try:
        return BenchOptions(
            _split_list(arch),
            device,
            against or None,
            _split_list(cases),
            _split_list(precisions),
            tuple(map(float, _split_list(lengths))),
            int(repeats),
            _split_list(sounds),
        )
    except ValueError as error:
        raise ModelError(f"lengths and repeats must be numbers ({error})") from error


def _split_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
