"""What `passtream bench model` is asked to measure, and how a command line says it."""

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
    """What to measure.

    Attributes:
        archs: names.
        device: `cpu` or `cuda`.
        against: `hear21passt`, or None.
        cases: some of `CASES`.
        precisions: of windows; none for those that the device is for.
        lengths_s: of windows; none for the longest of each arch.
        repeats: measured rounds of each case.
        sounds: WAV files that fidelity is measured on, beside noise.
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
        """Refuse what cannot be had, before anything is measured.

        Raises:
            ModelError: as `run_bench`.
        """
        if self.against not in (None, REFERENCE):
            raise ModelError(f"against must be {REFERENCE} (got {self.against!r})")
        for name, value, known in (
            ("device", self.device, DEVICES),
            *(("cases", case, CASES) for case in self.cases),
            *(("precisions", precision, PRECISIONS) for precision in self.precisions),
        ):
            if value not in known:
                raise ModelError(f"{name} must be of {', '.join(known)} (got {value!r})")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ModelError("device cuda: torch sees no GPU here; take --device cpu")
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
    """What `parsed` takes, and `--json`."""
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
    """Options as a command line has them, lists with commas between.

    Raises:
        ModelError: what should be a number is none.
    """
    try:
        return BenchOptions(
            _list(arch),
            device,
            against or None,
            _list(cases),
            _list(precisions),
            tuple(map(float, _list(lengths))),
            int(repeats),
            _list(sounds),
        )
    except ValueError as error:
        raise ModelError(f"lengths and repeats must be numbers ({error})") from error


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
