"""Tests of the levels of timestamp embeddings; `tests/parity` compares them with the reference."""

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
    ("kind", "arch", "other_levels"),
    [
        ("base", DEFAULT_ARCH, ()),
        ("base2level", DEFAULT_ARCH, (Level("passt", 25_600),)),  # 800 ms
        # The second level has 640 ms, the mel level six hops of the front end.
        ("base2levelmel", DEFAULT_ARCH, (Level("passt", 20_480), Level("mel", 1920))),
        ("base2levelmel", "stfthop160", (Level("passt", 25_600), Level("mel", 960))),
        ("base2levelmel", "stfthop100", (Level("passt", 25_600), Level("mel", 600))),
    ],
)
def test_levels_match_the_reference(kind, arch, other_levels):
    levels = timestamp_levels(kind, ARCHS[arch])
    assert levels == (FIRST, *other_levels)
    assert longest_window(levels) == max(5120, *(level.window for level in levels))


def test_second_level_is_a_multiple_of_the_first():
    levels = timestamp_levels("base2level", ARCHS[DEFAULT_ARCH], 6400)
    assert levels == (Level("passt", 6400), Level("passt", 32_000))


@pytest.mark.parametrize(
    ("kind", "size"), [("base", 1295), ("base2level", 2590), ("base2levelmel", 2 * 1295 + 768)]
)
def test_size_is_the_sum_over_levels(kind, size):
    assert timestamp_size(timestamp_levels(kind, ARCHS[DEFAULT_ARCH]), 527 + 768) == size


def test_unknown_kind_is_refused():
    message = r"one of base, base2level, base2levelmel \(got 'base3level'\)"
    with pytest.raises(ModelError, match=message):
        timestamp_levels("base3level", ARCHS[DEFAULT_ARCH])
