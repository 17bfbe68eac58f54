"""Selection of a run's archs by clip length, and of the weights for each arch.

With `--long-clips window` a single arch embeds all clips, and longer clips are cut into windows.
With `route`, a clip of up to 10, 20 or 30 s is embedded whole by the arch trained on that length.
"""

from collections.abc import Sequence

from models.archs import ArchSpec, arch_spec

ROUTED_S = 10.0
"""Longest clip that `--arch` embeds in a routed run, in seconds."""
_LONGER_ARCHS = ("passt_20sec", "passt_30sec")


def run_archs(arch: str, long_clips: str) -> tuple[ArchSpec, ...]:
    """Return the archs of a run, ordered by the length of the clips that they embed.

    Args:
        arch: Name of the arch for the shortest clips.
        long_clips: `window` or `route`.

    Raises:
        UnknownArchError: There is no such arch.
        ValueError: The arch cannot be the first of a routed run.
    """
    first = arch_spec(arch)
    if long_clips == "window":
        return (first,)
    if first.max_window_s != ROUTED_S or first.classes != "audioset":
        raise ValueError(
            f"long_clips route takes an arch of AudioSet's classes for clips up to {ROUTED_S:g} s "
            f"(got {arch!r}: {first.classes}, {first.max_window_s:g} s); leave out --arch"
        )
    return (first, *map(arch_spec, _LONGER_ARCHS))


def weights_by_arch(weights: str, archs: Sequence[ArchSpec]) -> dict[str, str]:
    """Return the source of the weights of each arch, by the name of the arch.

    Args:
        weights: Value of `--weights`. `auto` and `random:SEED` apply to all archs. Any other value
            is the source of a single arch; for several archs it is `ARCH=SOURCE` for each,
            separated by commas.
        archs: The archs of the run.

    Raises:
        UnknownArchError: There is no such arch.
        ValueError: An arch has no weights, has two, or does not belong to the run.
    """
    names = [arch.name for arch in archs]
    if len(archs) == 1 or weights == "auto" or weights.partition(":")[0] == "random":
        return dict.fromkeys(names, weights)
    sources: dict[str, str] = {}
    for part in weights.split(","):
        arch, equals, source = part.strip().partition("=")
        if not equals or not source:
            raise ValueError(
                f"weights {part.strip()!r}: long_clips route takes ARCH=SOURCE for each of "
                f"{', '.join(names)}, separated by commas; or auto, or random:SEED"
            )
        name = arch_spec(arch).name
        if name in sources or name not in names:
            problem = "is given twice" if name in sources else "is no arch of this run"
            raise ValueError(f"weights {part.strip()!r}: {arch} {problem} ({', '.join(names)})")
        sources[name] = source
    if missing := [name for name in names if name not in sources]:
        raise ValueError(f"weights of {', '.join(missing)} are missing; add ARCH=SOURCE for each")
    return sources
