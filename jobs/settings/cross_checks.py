"""Checks of settings that depend on other settings: window, hop and number of labels."""

import math

from models.archs import ArchSpec
from models.inference.timestamp_levels import longest_window, timestamp_levels
from pipeline.audio import to_samples


def check_window_is_default(window_s: float | None) -> None:
    """Raise if a window is given for a run that routes clips by length.

    Args:
        window_s: Length of a window in seconds; None if it was not given.

    Raises:
        ValueError: A length was given.
    """
    if window_s is not None:
        raise ValueError(
            "window_s goes with long_clips window only: route takes clips whole up to 30 s "
            f"(got {window_s})"
        )


def check_window_and_hop(
    window_and_hop_s: tuple[float, float],
    first: ArchSpec,
    name: str,
    timestamp_kind: str,
    is_routed: bool,
) -> None:
    """Raise if a run's windows or hops are too long or too short for its first arch.

    Args:
        window_and_hop_s: Length of a window and distance between windows, in seconds.
        first: The arch for the shortest clips.
        name: Name of that arch as the user gave it.
        timestamp_kind: Kind of timestamps, such as `base`; empty for none.
        is_routed: Whether longer archs embed the longer clips, so that a window may exceed `first`.

    Raises:
        ValueError: A length is out of bounds; the message names the setting and the bound.
    """
    window_s, hop_s = window_and_hop_s
    if not is_routed and window_s > first.max_window_s:
        raise ValueError(
            f"window_s must be at most {first.max_window_s} for arch {name!r} "
            f"(got {window_s}); longer archs are passt_20sec and passt_30sec"
        )
    shortest, reason = first.min_samples, "one patch"
    if timestamp_kind:
        window = longest_window(timestamp_levels(timestamp_kind, first))
        if window // 2 + 1 > shortest:
            shortest, reason = window // 2 + 1, f"timestamps {timestamp_kind}"
    if to_samples(window_s) < shortest:
        raise ValueError(
            f"window_s must be at least {math.ceil(shortest / 3.2) / 10_000} for arch "
            f"{name!r}, {reason} (got {window_s})"
        )
    if to_samples(hop_s) < 1:
        raise ValueError(f"hop_s must be at least one sample, 1/32000 (got {hop_s})")


def check_top_k(n_labels: int, arch: ArchSpec, name: str) -> None:
    """Raise if the number of labels per row does not fit the classes of an arch.

    Args:
        n_labels: Labels per row.
        arch: The arch.
        name: Name of the arch as the user gave it.

    Raises:
        ValueError: There are fewer classes than labels, or no label is asked for.
    """
    if not 1 <= n_labels <= arch.n_classes:
        raise ValueError(
            f"top_k must be 1 to {arch.n_classes}, the classes of arch {name!r} (got {n_labels})"
        )
