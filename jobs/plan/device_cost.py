"""Hours and money that a device takes for a run, computed from speeds measured on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.plan.speeds import WINDOW_SAMPLES, MeasuredSpeed
from models.archs import ArchSpec, arch_spec
from models.inference.timestamp_levels import timestamp_levels
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals
from pipeline.table.spec import TableSpec

DeviceSpeeds = Mapping[str, Sequence[MeasuredSpeed]]
"""Measured speeds of devices, by the device's name."""


@dataclass(frozen=True, slots=True)
class ArchSpeed:
    """Speed of a device for an arch.

    Attributes:
        measured: Measurement from which the speed is computed.
        is_measured: Whether it was measured with this arch; else it is converted by FLOPs.
    """

    measured: MeasuredSpeed
    is_measured: bool

    def seconds(self, flops: float) -> float:
        """Return the seconds that n FLOPs of the arch take."""
        return flops / self.measured.flops_per_s


@dataclass(frozen=True, slots=True)
class RouteCost:
    """Cost of the windows of one route, or of all timestamps, on a device.

    Attributes:
        arch: Name of the arch that embeds them.
        work: `windows` or `timestamps`.
        hours: Time of one device, in hours.
        speed: Speed from which the time is computed.
    """

    arch: str
    work: str
    hours: float
    speed: ArchSpeed


@dataclass(frozen=True, slots=True)
class DeviceCost:
    """Cost of a run on one device.

    Attributes:
        name: Name of the device.
        routes: Cost of each route that has windows, then the cost of timestamps if there are any.
        price_per_h: Price of the device per hour; None if it is unknown.
    """

    name: str
    routes: tuple[RouteCost, ...]
    price_per_h: float | None

    @property
    def hours(self) -> float:
        """Time of one device for the whole run, in hours."""
        return sum(route.hours for route in self.routes)

    @property
    def money(self) -> float | None:
        """Cost of the whole run in the currency of the price; None without a price."""
        return None if self.price_per_h is None else self.hours * self.price_per_h


def route_archs(spec: TableSpec) -> list[ArchSpec]:
    """Return the archs of a table's routes, whose `flops` give the cost of a window."""
    return [arch_spec(route.arch) for route in spec.routes]


def timestamp_flops(spec: TableSpec) -> float:
    """Return the floating-point operations of one timestamp; 0 if the table has no timestamps."""
    if not spec.timestamps:
        return 0.0
    first = arch_spec(spec.routes[0].arch)
    levels = timestamp_levels(spec.timestamps, first)
    return float(sum(first.flops(level.window) for level in levels if level.kind == "passt"))


def device_costs(
    totals: ListingTotals,
    spec: TableSpec,
    names: Sequence[str],
    speeds: DeviceSpeeds,
    prices: Mapping[str, float],
) -> list[DeviceCost]:
    """Estimate the cost of a run on each of the named devices.

    Args:
        totals: Totals of the run, with its work in FLOPs.
        spec: Spec of the table.
        names: Names of the devices.
        speeds: Measured speeds of devices.
        prices: Prices per hour, by name of the device.

    Raises:
        UsageError: No speed of a device is known, or a price is for a device not among the names.
    """
    if unknown := sorted(prices.keys() - set(names)):
        raise UsageError(
            f"price of {', '.join(unknown)}: not among the devices of --gpu "
            f"({', '.join(names) or 'none'}); name it there as well"
        )
    costs = []
    for name in names:
        routes = []
        for index, arch in enumerate(route_archs(spec)):
            speed = find_speed(speeds, name, arch, spec.precision)
            if totals.work[index]:
                hours = speed.seconds(totals.work[index]) / 3600
                routes.append(RouteCost(arch.name, "windows", hours, speed))
        if totals.timestamps and (flops := timestamp_flops(spec)):
            first = arch_spec(spec.routes[0].arch)
            speed = find_speed(speeds, name, first, spec.precision)
            hours = speed.seconds(totals.timestamps * flops) / 3600
            routes.append(RouteCost(first.name, "timestamps", hours, speed))
        costs.append(DeviceCost(name, tuple(routes), prices.get(name)))
    return costs


def default_cost(
    totals: ListingTotals, spec: TableSpec, speeds: DeviceSpeeds, name: str
) -> DeviceCost | None:
    """Estimate the cost of a run on the default device, which is used if none is named.

    Args:
        totals: Totals of the run, with its work in FLOPs.
        spec: Spec of the table.
        speeds: Measured speeds of devices.
        name: Name of the default device.

    Returns:
        The cost; None if no speed of the device is known in the precision of the spec.
    """
    if not any(each.precision == spec.precision for each in speeds.get(name, ())):
        return None
    (cost,) = device_costs(totals, spec, [name], speeds, {})
    return cost


def find_speed(speeds: DeviceSpeeds, name: str, arch: ArchSpec, precision: str) -> ArchSpeed:
    """Find the speed of a device for an arch in a precision.

    If the arch was not measured on the device, the speed is converted from the measured arch whose
    windows cost most nearly the same.

    Raises:
        UsageError: No speed of the device is known, or none in this precision.
    """
    way_out = (
        f"on such a device: passtream bench model --cases windows --device cuda --arch {arch.name} "
        f"--figures FILE --name {name}; then plan with --figures FILE"
    )
    if name not in speeds:
        known = ", ".join(sorted(speeds)) or "none"
        raise UsageError(
            f"gpu {name!r}: its speed is not known (known devices: {known}); {way_out}"
        )
    same = [speed for speed in speeds[name] if speed.precision == precision]
    if not same:
        known = ", ".join(sorted({speed.precision for speed in speeds[name]}))
        raise UsageError(
            f"gpu {name!r}: its speed in {precision} is not known (known precisions: {known}); "
            f"{way_out}"
        )
    flops = arch.flops(WINDOW_SAMPLES)
    nearest = min(
        same,
        key=lambda speed: (
            speed.arch != arch.name,
            abs(arch_spec(speed.arch).flops(WINDOW_SAMPLES) - flops),
            abs(speed.window_s - arch.max_window_s),
        ),
    )
    return ArchSpeed(nearest, nearest.arch == arch.name)


def parse_prices(given: list[str]) -> dict[str, float]:
    """Parse prices per hour, each written `NAME=PRICE`, to a mapping by name.

    Raises:
        UsageError: A value is not a name and a price.
    """
    prices = {}
    for each in given:
        name, _, text = each.partition("=")
        try:
            price = float(text)
        except ValueError:
            price = -1.0
        if not name or not 0 <= price < float("inf"):
            raise UsageError(f"price must be NAME=PRICE per hour, such as H100=2.50 (got {each!r})")
        prices[name] = price
    return prices
