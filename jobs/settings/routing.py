"""Which archs a run embeds with, up to which length, and the weights of each.

With `--long-clips window` one arch sees everything, longer clips in windows. With `route` a clip of
up to 10, 20 or 30 s goes whole through the arch that was trained on such clips.
"""

from collections.abc import Sequence

from models.archs import ArchSpec, arch_spec

ROUTED_S = 10.0
"""Length in seconds up to which `--arch` has the clips of a routed run."""
_LONGER_ARCHS = ("passt_20sec", "passt_30sec")


def run_archs(arch: str, long_clips: str) -> tuple[ArchSpec, ...]:
    """The archs of a run, by length.

    Raises:
        UnknownArchError: no such arch.
        ValueError: the arch cannot be the first of a routed run.
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
    """Where the weights of each arch come from.

    Args:
        weights: `auto` and `random:SEED` are for all archs, anything else for the one there is;
            where there are several, `ARCH=SOURCE` for each, with commas between.
        archs: of the run.

    Raises:
        UnknownArchError: no such arch.
        ValueError: an arch has no weights, or has them twice, or is none of the run's.
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
                f"{', '.join(names)}, with commas between; or auto, or random:SEED"
            )
        name = arch_spec(arch).name
        if name in sources or name not in names:
            wrong = "is given twice" if name in sources else "is no arch of this run"
            raise ValueError(f"weights {part.strip()!r}: {arch} {wrong} ({', '.join(names)})")
        sources[name] = source
    if missing := [name for name in names if name not in sources]:
        raise ValueError(f"weights of {', '.join(missing)} are missing; add ARCH=SOURCE for each")
    return sources
