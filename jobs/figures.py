"""How fast devices run PaSST, as `passtream bench model` measured it: files of figures.

A file of figures maps a name that somebody chose for a device to what was measured there. What is
shipped with the package is what BENCHMARKS.md has, and no more: a device without a figure is
refused, not guessed.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.archs import SAMPLE_RATE_HZ, arch_spec
from pipeline.errors import UsageError

WINDOW_SAMPLES = 10 * SAMPLE_RATE_HZ
"""Length of the windows that figures are of."""
SHIPPED = "figures.json"


class Figure(BaseModel):
    """One measurement.

    Attributes:
        arch: the PaSST that ran.
        precision: that it ran in.
        windows_per_s: windows of 10 s a second.
        batch_windows: windows in one batch.
        measured_on: the device, and what ran there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arch: str
    precision: str
    windows_per_s: float = Field(gt=0, allow_inf_nan=False)
    batch_windows: int | None = Field(default=None, ge=1)
    measured_on: str = ""

    @property
    def flops_per_s(self) -> float:
        """Of the arch's own operations."""
        return self.windows_per_s * arch_spec(self.arch).flops(WINDOW_SAMPLES)


_FILES = TypeAdapter(dict[str, list[Figure]])


def read_figures(path: Path) -> dict[str, list[Figure]]:
    """The figures of a file.

    Raises:
        UsageError: it is not there, or holds something else.
    """
    try:
        return _parsed(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"figures {str(path)!r} cannot be read: {error}") from error


def shipped_figures() -> dict[str, list[Figure]]:
    """Those that come with the package."""
    file = resources.files("jobs") / "data" / SHIPPED
    return _parsed(file.read_text(), SHIPPED)


def all_figures(own: Path | None) -> dict[str, list[Figure]]:
    """A person's figures, and those shipped where these have none of a device, arch and precision.

    Args:
        own: the person's file; None for none.

    Raises:
        UsageError: it cannot be read.
    """
    figures = read_figures(own) if own else {}
    for name, shipped in shipped_figures().items():
        figures[name] = _merged(shipped, figures.get(name, []))
    return figures


def add_figures(path: Path, name: str, measured: list[Figure]) -> None:
    """Write figures of a device into a file, in place of those of the same arch and precision.

    Args:
        path: of the file, which need not be there.
        name: of the device.
        measured: on it.

    Raises:
        UsageError: the file is something else, or cannot be written.
    """
    figures = read_figures(path) if path.exists() else {}
    figures[name] = _merged(figures.get(name, []), measured)
    content = json.dumps(json.loads(_FILES.dump_json(figures, exclude_none=True)), indent=1)
    try:
        path.write_text(content + "\n")
    except OSError as error:
        raise UsageError(f"figures {str(path)!r} cannot be written: {error}") from error


@dataclass(frozen=True, slots=True)
class FigureFile:
    """Where a bench keeps its figures.

    Attributes:
        path: of the file, which need not be there.
        name: of the device.
    """

    path: Path
    name: str

    def check(self, has_windows: bool) -> None:
        """See, before anything is measured, that there will be figures and a file for them.

        Raises:
            UsageError: there will not.
        """
        if not has_windows:
            raise UsageError("figures are of the case windows: add it to --cases")
        if self.path.exists():
            read_figures(self.path)
        elif not self.path.parent.is_dir():
            raise UsageError(f"figures {str(self.path)!r}: there is no folder {self.path.parent}")

    def keep(self, arch: str, machine: str, measured: list[tuple[str, float, int]]) -> None:
        """Add what was measured: precision, windows a second and windows in a batch of each."""
        found = [
            Figure(
                arch=arch,
                precision=precision,
                windows_per_s=round(rate, 4),
                batch_windows=n,
                measured_on=machine,
            )
            for precision, rate, n in measured
        ]
        add_figures(self.path, self.name, found)


def figure_file(path: Path | None, name: str) -> FigureFile | None:
    """Where a bench is to keep its figures; None for nowhere.

    Raises:
        UsageError: a file without a name, or a name that `plan` could not be given.
    """
    if path is None and not name:
        return None
    if path is None or not name or "," in name or "=" in name:
        raise UsageError(
            "figures need a file and the device's name, without commas and =: --figures FILE "
            f"--name H100 (got {str(path) if path else None!r} and {name!r})"
        )
    return FigureFile(path, name)


def _parsed(text: str, name: str) -> dict[str, list[Figure]]:
    try:
        figures = _FILES.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"figures {name!r}: {f'{place}: ' if place else ''}{first['msg']}; it maps names of "
            "devices to lists of arch, precision and windows_per_s"
        ) from error
    for device, found in figures.items():
        for figure in found:
            _check_arch(figure.arch, f"figures {name!r}: {device}")
    return figures


def _check_arch(arch: str, where: str) -> None:
    try:
        arch_spec(arch)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _merged(before: list[Figure], after: list[Figure]) -> list[Figure]:
    """Both, less those of before that are measured anew."""
    anew = {(figure.arch, figure.precision) for figure in after}
    return [*(f for f in before if (f.arch, f.precision) not in anew), *after]
