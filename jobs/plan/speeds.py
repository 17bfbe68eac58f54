"""Files of figures: how fast devices run PaSST, and how fast cores decode for them.

A file maps names that somebody chose for devices and cores to what `passtream bench model` and
`bench feed` measured there. Both are in one file, as one is of little use without the other: they
are kept apart, as the machine that decodes need not have the device. What is shipped with the
package is what BENCHMARKS.md has, and no more: who has no figure is refused, device or core.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.plan.core_speeds import CoreSpeed, build_core_speeds
from models.archs import SAMPLE_RATE_HZ, arch_spec
from pipeline.errors import UsageError

WINDOW_SAMPLES = 10 * SAMPLE_RATE_HZ
"""Length of the windows that figures are of where they do not say."""
SHIPPED = "figures.json"


class MeasuredSpeed(BaseModel):
    """One measurement of a device.

    Attributes:
        arch: the PaSST that ran.
        precision: that it ran in.
        windows_per_s: windows a second.
        window_s: how long these were.
        batch_windows: windows in one batch.
        measured_on: the device, and what ran there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arch: str
    precision: str
    windows_per_s: float = Field(gt=0, allow_inf_nan=False)
    window_s: float = Field(default=WINDOW_SAMPLES / SAMPLE_RATE_HZ, gt=0, le=30)
    batch_windows: int | None = Field(default=None, ge=1)
    measured_on: str = ""

    @property
    def flops_per_s(self) -> float:
        """Of the arch's own operations."""
        n_samples = round(self.window_s * SAMPLE_RATE_HZ)
        return self.windows_per_s * arch_spec(self.arch).flops(n_samples)


class Speeds(BaseModel):
    """What a file of figures has.

    Attributes:
        devices: what was measured on each, by its name.
        cores: what was measured on each, by its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: dict[str, list[MeasuredSpeed]] = {}
    cores: dict[str, Annotated[list[CoreSpeed], Field(min_length=1)]] = {}

    @property
    def default_device(self) -> str:
        """Name of the device that is taken where none is named: the first; empty without any."""
        return next(iter(self.devices), "")

    @property
    def default_core(self) -> str:
        """The one that decodes where nobody names another: the first."""
        return next(iter(self.cores))

    def merge(self, others: "Speeds") -> "Speeds":
        """These and others, which win.

        Of the same are figures of one device, arch, precision and length of windows, or of one core
        and ending.
        """
        devices, cores = dict(self.devices), dict(self.cores)
        for name, figures in others.devices.items():
            devices[name] = _merged(devices.get(name, []), figures)
        for name, measured in others.cores.items():
            cores[name] = _merged_cores(cores.get(name, []), measured)
        return Speeds(devices=devices, cores=cores)


def read_speeds(path: Path) -> Speeds:
    """The figures of a file.

    Raises:
        UsageError: it is not there, or holds something else.
    """
    try:
        return _parsed(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"figures {str(path)!r} cannot be read: {error}") from error


def shipped_speeds() -> Speeds:
    """Those that come with the package."""
    file = resources.files("jobs") / "data" / SHIPPED
    return _parsed(file.read_text(), SHIPPED)


def all_speeds(own: Path | None) -> Speeds:
    """A person's figures, and those shipped where these have none of the same.

    Args:
        own: the person's file; None for none.

    Raises:
        UsageError: it cannot be read.
    """
    shipped, found = shipped_speeds(), read_speeds(own) if own else Speeds()
    figures = shipped.merge(found)
    # Who has measured something means that: theirs come first, and the first is the default.
    devices = found.devices | figures.devices
    return Speeds(devices=devices, cores=found.cores | figures.cores)


def add_speeds(path: Path, measured: Speeds) -> None:
    """Write figures into a file, in place of those of the same.

    Args:
        path: of the file, which need not be there.
        measured: what is to be in it.

    Raises:
        UsageError: the file is something else, or cannot be written.
    """
    figures = read_speeds(path).merge(measured) if path.exists() else measured
    content = json.dumps(figures.model_dump(mode="json", exclude_none=True), indent=1)
    try:
        path.write_text(content + "\n")
    except OSError as error:
        raise UsageError(f"figures {str(path)!r} cannot be written: {error}") from error


@dataclass(frozen=True, slots=True)
class SpeedFile:
    """Where a bench keeps its figures.

    Attributes:
        path: of the file, which need not be there.
        name: of the device, or of the core.
    """

    path: Path
    name: str

    def check(self, has_windows: bool) -> None:
        """See, before a model is timed, that there will be figures and a file for them.

        Raises:
            UsageError: there will not.
        """
        if not has_windows:
            raise UsageError("figures are of the case windows: add it to --cases")
        self.check_path()

    def check_path(self) -> None:
        """See, before anything is measured, that there is a place for it.

        Raises:
            UsageError: there is none.
        """
        if self.path.exists():
            read_speeds(self.path)
        elif not self.path.parent.is_dir():
            raise UsageError(f"figures {str(self.path)!r}: there is no folder {self.path.parent}")

    def save_device_speed(self, measured: "MeasuredSpeed") -> None:
        """Add what was measured of the device."""
        add_speeds(self.path, Speeds(devices={self.name: [measured]}))

    def save_core_speeds(self, machine: str, rates: Mapping[str, float]) -> None:
        """Add what was measured: seconds of audio a second of processor time, by ending."""
        add_speeds(self.path, Speeds(cores={self.name: build_core_speeds(rates, machine)}))


def speed_file(path: Path | None, name: str) -> SpeedFile | None:
    """Where a bench is to keep its figures; None for nowhere.

    Raises:
        UsageError: a file without a name, or a name that `plan` could not be given.
    """
    if path is None and not name:
        return None
    if path is None or not name or "," in name or "=" in name:
        raise UsageError(
            "figures need a file and a name of what is measured, without commas and =: "
            f"--figures FILE --name H100 (got {str(path) if path else None!r} and {name!r})"
        )
    return SpeedFile(path, name)


def _parsed(text: str, name: str) -> Speeds:
    try:
        figures = Speeds.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"figures {name!r}: {f'{place}: ' if place else ''}{first['msg']}; it has devices "
            "(names to lists of arch, precision and windows_per_s) and cores (names to lists of "
            "ending and audio_s_per_core_s)"
        ) from error
    for device, found in figures.devices.items():
        for figure in found:
            _check_arch(figure.arch, f"figures {name!r}: {device}")
    return figures


def _check_arch(arch: str, where: str) -> None:
    try:
        arch_spec(arch)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _merged(before: list[MeasuredSpeed], after: list[MeasuredSpeed]) -> list[MeasuredSpeed]:
    """Both, less those of before that are measured anew."""
    anew = {(figure.arch, figure.precision, figure.window_s) for figure in after}
    return [*(f for f in before if (f.arch, f.precision, f.window_s) not in anew), *after]


def _merged_cores(before: list[CoreSpeed], after: list[CoreSpeed]) -> list[CoreSpeed]:
    """Both, less those of before that are measured anew."""
    anew = {figure.ending for figure in after}
    return [*(figure for figure in before if figure.ending not in anew), *after]
