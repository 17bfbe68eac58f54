"""Tests of `jobs.plan.decode_cost`: core hours, and cores that keep a device busy."""

from collections import Counter

import pytest

from jobs.plan.core_speeds import build_core_speeds
from jobs.plan.decode_cost import decode_cost
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals

SPEEDS = {"here": build_core_speeds({".flac": 800.0, ".mp3": 400.0, ".wav": 1600.0}, "")}


def cost_of(**hours):
    seconds = Counter({f".{ending}": 3600 * n for ending, n in hours.items()})
    return decode_cost(ListingTotals(endings_s=seconds), "here", SPEEDS)


def test_core_hours_are_audio_divided_by_speed():
    cost = cost_of(flac=1600, wav=1600)
    assert [each.ending for each in cost.endings] == [".flac", ".wav"]
    assert [each.hours for each in cost.endings] == pytest.approx([2.0, 1.0])
    assert cost.hours == pytest.approx(3.0)
    # Three core hours within half an hour of a device need six cores.
    assert cost.cores_for(0.5) == pytest.approx(6.0)
    assert all(each.is_measured for each in cost.endings)


def test_unmeasured_ending_counts_as_the_slowest():
    cost = cost_of(opus=400, wav=1600)
    opus, wav = cost.endings
    assert (opus.is_measured, opus.speed.ending, opus.hours) == (False, ".mp3", 1.0)
    assert wav.is_measured
    assert cost.hours == pytest.approx(2.0)


def test_no_audio_needs_no_cores():
    assert cost_of().hours == 0
    assert cost_of().cores_for(0.0) is None


def test_unknown_core_is_refused():
    with pytest.raises(UsageError, match="core 'there': its speed is not known"):
        decode_cost(ListingTotals(), "there", SPEEDS)
