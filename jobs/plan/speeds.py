"""Files of measured speeds: of devices that run PaSST, and of cores that decode for them.

A file maps the names of devices and cores, which its owner chooses, to measurements of `passtream
bench model` and `bench feed`. Devices and cores are separate mappings, because the machine that
decodes may be another one. The file that is shipped with the package has the speeds of
BENCHMARKS.md and no others. `passtream plan` refuses a device or core whose speed is not known.
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
"""Default length of the windows of a measurement, in samples."""
SHIPPED_NAME = "figures.json"
"""Name of the file that is shipped with the package."""


class MeasuredSpeed(BaseModel):
    """Measured speed of a device for an arch and a precision.

    Attributes:
        arch: Name of the PaSST arch.
        precision: Precision in which it computed.
        windows_per_s: Windows per second.
        window_s: Length of each window, in seconds.
        batch_windows: Number of windows per batch; None if unknown.
        measured_on: Description of the device and the software.
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
        """Floating-point operations of the arch per second."""
        n_samples = round(self.window_s * SAMPLE_RATE_HZ)
        return self.windows_per_s * arch_spec(self.arch).flops(n_samples)


class Speeds(BaseModel):
    """Content of a file of measured speeds.

    Attributes:
        devices: Measurements of each device, by its name.
        cores: Measurements of each core, by its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: dict[str, list[MeasuredSpeed]] = {}
    cores: dict[str, Annotated[list[CoreSpeed], Field(min_length=1)]] = {}

    @property
    def default_device(self) -> str:
        """Name of the first device, which is used if none is named; empty without devices."""
        return next(iter(self.devices), "")

    @property
    def default_core(self) -> str:
        """Name of the first core, which is used if none is named."""
        return next(iter(self.cores))

    def merge(self, others: "Speeds") -> "Speeds":
        """Return these speeds and others; the others replace measurements of the same thing.

        Measurements are of the same thing if they have the same device, arch, precision and window
        length, or the same core and ending.
        """
        devices, cores = dict(self.devices), dict(self.cores)
        for name, device_speeds in others.devices.items():
            devices[name] = _merge_device_speeds(devices.get(name, []), device_speeds)
        for name, core_speeds in others.cores.items():
            cores[name] = _merge_core_speeds(cores.get(name, []), core_speeds)
        return Speeds(devices=devices, cores=cores)


def read_speeds(path: Path) -> Speeds:
    """Read a file of measured speeds.

    Raises:
        UsageError: The file does not exist, or is not a file of measured speeds.
    """
    try:
        return _parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"figures {str(path)!r} cannot be read: {error}") from error


def shipped_speeds() -> Speeds:
    """Return the speeds that are shipped with the package."""
    file = resources.files("jobs") / "data" / SHIPPED_NAME
    return _parse(file.read_text(), SHIPPED_NAME)


def all_speeds(own: Path | None) -> Speeds:
    """Return the speeds of the user's own file, and the shipped ones where it has none.

    Args:
        own: The user's file, or None.

    Raises:
        UsageError: The file cannot be read.
    """
    shipped, measured = shipped_speeds(), read_speeds(own) if own else Speeds()
    merged = shipped.merge(measured)
    # The first device and core are the defaults, and should be those that the user has measured.
    devices = measured.devices | merged.devices
    return Speeds(devices=devices, cores=measured.cores | merged.cores)


def add_speeds(path: Path, measured: Speeds) -> None:
    """Add measured speeds to a file, replacing measurements of the same thing.

    Args:
        path: Path of the file; it is created if it does not exist.
        measured: Speeds to add.

    Raises:
        UsageError: The file is not a file of measured speeds, or cannot be written.
    """
    speeds = read_speeds(path).merge(measured) if path.exists() else measured
    content = json.dumps(speeds.model_dump(mode="json", exclude_none=True), indent=1)
    try:
        path.write_text(content + "\n")
    except OSError as error:
        raise UsageError(f"figures {str(path)!r} cannot be written: {error}") from error


@dataclass(frozen=True, slots=True)
class SpeedFile:
    """File to which a benchmark adds the speeds of one device or core.

    Attributes:
        path: Path of the file, which may not exist yet.
        name: Name of the device or of the core.
    """

    path: Path
    name: str

    def check(self, has_windows: bool) -> None:
        """Check before a model is timed that its speed will be measured and can be saved.

        Args:
            has_windows: Whether the benchmark has the case `windows`, which measures the speed.

        Raises:
            UsageError: The case is missing, or the path is not usable.
        """
        if not has_windows:
            raise UsageError("--figures needs the case windows: add it to --cases")
        self.check_path()

    def check_path(self) -> None:
        """Check before a measurement that the path is usable.

        Raises:
            UsageError: The file is not a file of measured speeds, or its folder does not exist.
        """
        if self.path.exists():
            read_speeds(self.path)
        elif not self.path.parent.is_dir():
            raise UsageError(f"figures {str(self.path)!r}: there is no folder {self.path.parent}")

    def save_device_speed(self, measured: "MeasuredSpeed") -> None:
        """Add a measured speed of the device to the file."""
        add_speeds(self.path, Speeds(devices={self.name: [measured]}))

    def save_core_speeds(self, machine: str, rates: Mapping[str, float]) -> None:
        """Add the measured speeds of the core to the file.

        Args:
            machine: Description of the processor and the files.
            rates: Seconds of audio per second of processor time, by ending.
        """
        add_speeds(self.path, Speeds(cores={self.name: build_core_speeds(rates, machine)}))


def speed_file(path: Path | None, name: str) -> SpeedFile | None:
    """Return the file to which a benchmark adds its speeds; None if neither option is given.

    Args:
        path: Value of the option `--figures`.
        name: Value of the option `--name`.

    Raises:
        UsageError: One option is given without the other, or the name cannot be used with `plan`.
    """
    if path is None and not name:
        return None
    if path is None or not name or "," in name or "=" in name:
        raise UsageError(
            "--figures and --name go together, and the name has no comma and no =: "
            f"--figures FILE --name H100 (got {str(path) if path else None!r} and {name!r})"
        )
    return SpeedFile(path, name)


def _parse(text: str, name: str) -> Speeds:
    try:
        speeds = Speeds.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"figures {name!r}: {f'{field}: ' if field else ''}{first['msg']}; the file must "
            "have devices (names to lists of arch, precision and windows_per_s) and cores (names "
            "to lists of ending and audio_s_per_core_s)"
        ) from error
    for device, device_speeds in speeds.devices.items():
        for speed in device_speeds:
            _check_arch(speed.arch, f"figures {name!r}: {device}")
    return speeds


def _check_arch(arch: str, where: str) -> None:
    try:
        arch_spec(arch)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _merge_device_speeds(old: list[MeasuredSpeed], new: list[MeasuredSpeed]) -> list[MeasuredSpeed]:
    """Return the old measurements that are not replaced, then the new ones."""
    replaced = {(speed.arch, speed.precision, speed.window_s) for speed in new}
    return [*(s for s in old if (s.arch, s.precision, s.window_s) not in replaced), *new]


def _merge_core_speeds(old: list[CoreSpeed], new: list[CoreSpeed]) -> list[CoreSpeed]:
    """Return the old measurements that are not replaced, then the new ones."""
    replaced = {speed.ending for speed in new}
    return [*(speed for speed in old if speed.ending not in replaced), *new]
