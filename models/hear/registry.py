"""Table of the HEAR modules with their arch and timestamp windows; it does not import torch."""

from dataclasses import dataclass

from models.archs import DEFAULT_ARCH


@dataclass(frozen=True, slots=True)
class HearSpec:
    """Settings of one HEAR module.

    Attributes:
        name: Name of the Python module in `models.hear`.
        arch: Name of the module's arch.
        timestamps: Kind of its timestamp embeddings, one of `TIMESTAMP_KINDS` in
            `models.inference.timestamp_levels`.
    """

    name: str
    arch: str
    timestamps: str = "base"


HEAR_MODULES: dict[str, HearSpec] = {
    spec.name: spec
    for spec in (
        HearSpec("base", DEFAULT_ARCH),
        HearSpec("base20sec", "passt_20sec"),
        HearSpec("base30sec", "passt_30sec"),
        HearSpec("base2level", DEFAULT_ARCH, "base2level"),
        HearSpec("base2levelF", DEFAULT_ARCH, "base2level"),
        HearSpec("base2levelmel", DEFAULT_ARCH, "base2levelmel"),
        HearSpec("hop160base", "stfthop160"),
        HearSpec("hop160base2lvl", "stfthop160", "base2level"),
        HearSpec("hop160base2lvlmel", "stfthop160", "base2levelmel"),
        HearSpec("hop100base", "stfthop100"),
        HearSpec("hop100base2lvl", "stfthop100", "base2level"),
        HearSpec("hop100base2lvlmel", "stfthop100", "base2levelmel"),
        HearSpec("openmic2008", "openmic"),
    )
}
"""HEAR modules by the name of the Python module."""
