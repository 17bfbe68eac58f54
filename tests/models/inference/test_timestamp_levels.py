"""The levels of a timestamp embedding; the reference's windows are in `tests/parity`."""

import pytest

from models.archs import ARCHS, DEFAULT_ARCH
from models.errors import ModelError
from models.inference.timestamp_levels import (
    Level,
    longest_window,
    timestamp_levels,
    timestamp_size,
)

FIRST = Level("passt", 5120)  # 160 ms at 32 kHz


@pytest.mark.parametrize(
    ("kind", "arch", "more"),
    [
        ("base", DEFAULT_ARCH, ()),
        ("base2level", DEFAULT_ARCH, (Level("passt", 25_600),)),  # 800 ms
        # 640 ms, and six hops of the front end
        ("base2levelmel", DEFAULT_ARCH, (Level("passt", 20_480), Level("mel", 1920))),
        ("base2levelmel", "stfthop160", (Level("passt", 25_600), Level("mel", 960))),
        ("base2levelmel", "stfthop100", (Level("passt", 25_600), Level("mel", 600))),
    ],
)
def test_levels_are_those_of_the_reference(kind, arch, more):
    levels = timestamp_levels(kind, ARCHS[arch])
    assert levels == (FIRST, *more)
    assert longest_window(levels) == max(5120, *(level.window for level in levels))


def test_the_second_level_grows_with_the_first():
    levels = timestamp_levels("base2level", ARCHS[DEFAULT_ARCH], 6400)
    assert levels == (Level("passt", 6400), Level("passt", 32_000))


@pytest.mark.parametrize(
    ("kind", "size"), [("base", 1295), ("base2level", 2590), ("base2levelmel", 2 * 1295 + 768)]
)
def test_sizes_add_up(kind, size):
    assert timestamp_size(timestamp_levels(kind, ARCHS[DEFAULT_ARCH]), 527 + 768) == size


def test_another_kind_is_refused():
    message = r"one of base, base2level, base2levelmel \(got 'base3level'\)"
    with pytest.raises(ModelError, match=message):
        timestamp_levels("base3level", ARCHS[DEFAULT_ARCH])
