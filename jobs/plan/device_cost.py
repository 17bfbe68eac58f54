"""How long a device would compute, and what that costs, from figures that were measured on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.plan.speeds import WINDOW_SAMPLES, MeasuredSpeed
from models.archs import ArchSpec, arch_spec
from models.inference.timestamp_levels import timestamp_levels
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals
from pipeline.table.spec import TableSpec

DeviceSpeeds = Mapping[str, Sequence[MeasuredSpeed]]
"""By the device's name."""


@dataclass(frozen=True, slots=True)
class ArchSpeed:
    """How fast a device runs an arch.

    Attributes:
        figure: what that is known from.
        is_measured: it was measured with this arch; else it is converted by FLOPs.
    """

    measured: MeasuredSpeed
    is_measured: bool

    def seconds(self, flops: float) -> float:
        """How long so much of the arch's work takes."""
        return flops / self.measured.flops_per_s


@dataclass(frozen=True, slots=True)
class RouteCost:
    """What the windows of one route, or all timestamps, take of a device.

    Attributes:
        arch: that they go through.
        work: `windows` or `timestamps`.
        hours: of one device.
        speed: that this was told by.
    """

    arch: str
    work: str
    hours: float
    speed: ArchSpeed


@dataclass(frozen=True, slots=True)
class DeviceCost:
    """What a run takes of a device.

    Attributes:
        name: of the device.
        routes: one a route with windows, and one for timestamps.
        price_per_h: of one device; None where it was not told.
    """

    name: str
    routes: tuple[RouteCost, ...]
    price_per_h: float | None

    @property
    def hours(self) -> float:
        """Of one device, for all of the work."""
        return sum(route.hours for route in self.routes)

    @property
    def money(self) -> float | None:
        """For all of the work, in the unit of the price."""
        return None if self.price_per_h is None else self.hours * self.price_per_h


def route_archs(spec: TableSpec) -> list[ArchSpec]:
    """The archs of a table's routes, whose `flops` are what a window costs."""
    return [arch_spec(route.arch) for route in spec.routes]


def timestamp_flops(spec: TableSpec) -> float:
    """Floating-point operations of one timestamp; 0 where the table has none."""
    if not spec.timestamps:
        return 0.0
    first = arch_spec(spec.routes[0].arch)
    levels = timestamp_levels(spec.timestamps, first)
    return float(sum(first.flops(level.window) for level in levels if level.kind == "passt"))


def device_costs(
    tally: ListingTotals,
    spec: TableSpec,
    names: Sequence[str],
    figures: DeviceSpeeds,
    prices: Mapping[str, float],
) -> list[DeviceCost]:
    """What work takes of each of some devices.

    Args:
        tally: of the work, in FLOPs.
        spec: of the table.
        names: of the devices.
        figures: of devices.
        prices: of an hour, by name.

    Raises:
        UsageError: there is no figure of a device, or a price of one that is not asked for.
    """
    if strangers := sorted(prices.keys() - set(names)):
        raise UsageError(
            f"price of {', '.join(strangers)}: not among the devices of --gpu "
            f"({', '.join(names) or 'none'}); name it there as well"
        )
    costs = []
    for name in names:
        routes = []
        for place, arch in enumerate(route_archs(spec)):
            speed = find_speed(figures, name, arch, spec.precision)
            if tally.work[place]:
                hours = speed.seconds(tally.work[place]) / 3600
                routes.append(RouteCost(arch.name, "windows", hours, speed))
        if tally.timestamps and (flops := timestamp_flops(spec)):
            first = arch_spec(spec.routes[0].arch)
            speed = find_speed(figures, name, first, spec.precision)
            hours = speed.seconds(tally.timestamps * flops) / 3600
            routes.append(RouteCost(first.name, "timestamps", hours, speed))
        costs.append(DeviceCost(name, tuple(routes), prices.get(name)))
    return costs


def default_cost(
    tally: ListingTotals, spec: TableSpec, figures: DeviceSpeeds, name: str
) -> DeviceCost | None:
    """Return what work takes of the device that is taken where none is asked for.

    Args:
        tally: The work, in FLOPs.
        spec: Spec of the table.
        figures: Figures of devices.
        name: Name of the device.

    Returns:
        None where the device has no figure in the spec's precision.
    """
    if not any(each.precision == spec.precision for each in figures.get(name, ())):
        return None
    (cost,) = device_costs(tally, spec, [name], figures, {})
    return cost


def find_speed(figures: DeviceSpeeds, name: str, arch: ArchSpec, precision: str) -> ArchSpeed:
    """How fast a device runs an arch in a precision.

    Another arch's figure is converted: of the archs measured there, the one whose windows cost most
    nearly the same.

    Raises:
        UsageError: there is no figure of the device, or none in this precision.
    """
    way_out = (
        f"on such a device: passtream bench model --cases windows --device cuda --arch {arch.name} "
        f"--figures FILE --name {name}; then plan with --figures FILE"
    )
    if name not in figures:
        known = ", ".join(sorted(figures)) or "none"
        raise UsageError(f"gpu {name!r}: there is no figure of it (there is {known}); {way_out}")
    same = [figure for figure in figures[name] if figure.precision == precision]
    if not same:
        known = ", ".join(sorted({figure.precision for figure in figures[name]}))
        raise UsageError(
            f"gpu {name!r}: there is no figure of it in {precision} (there is {known}); {way_out}"
        )
    flops = arch.flops(WINDOW_SAMPLES)
    nearest = min(
        same,
        key=lambda figure: (
            figure.arch != arch.name,
            abs(arch_spec(figure.arch).flops(WINDOW_SAMPLES) - flops),
            abs(figure.window_s - arch.max_window_s),
        ),
    )
    return ArchSpeed(nearest, nearest.arch == arch.name)


def parse_prices(given: list[str]) -> dict[str, float]:
    """`NAME=PRICE` an hour, by name.

    Raises:
        UsageError: one is no name and price.
    """
    prices = {}
    for each in given:
        name, _, text = each.partition("=")
        try:
            price = float(text)
        except ValueError:
            price = -1.0
        if not name or not 0 <= price < float("inf"):
            raise UsageError(f"price must be NAME=PRICE of an hour, as H100=2.50 (got {each!r})")
        prices[name] = price
    return prices
