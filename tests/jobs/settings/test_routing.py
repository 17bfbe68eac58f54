"""Tests of routing: the archs of a run, and the source of the weights of each arch."""

import re

import pytest

from jobs.settings.routing import run_archs, weights_by_arch
from models.archs import ARCHS, DEFAULT_ARCH

ROUTED = run_archs(DEFAULT_ARCH, "route")


def test_run_with_windows_has_a_single_arch():
    assert run_archs("passt_20sec", "window") == (ARCHS["passt_20sec"],)


def test_routes_are_ordered_by_length_and_have_the_same_classes():
    assert [arch.name for arch in ROUTED] == [DEFAULT_ARCH, "passt_20sec", "passt_30sec"]
    assert [arch.max_window_s for arch in ROUTED] == [10, 20, 30]
    assert {arch.n_classes for arch in ROUTED} == {527}


@pytest.mark.parametrize("arch", ["passt_20sec", "passt_30sec", "openmic", "fsd50k"])
def test_arch_that_cannot_be_the_first_route_is_refused(arch):
    with pytest.raises(ValueError, match=f"got '{arch}': .*leave out --arch"):
        run_archs(arch, "route")


@pytest.mark.parametrize("weights", ["auto", "random:7", "random"])
def test_auto_and_random_weights_apply_to_all_archs(weights):
    assert weights_by_arch(weights, ROUTED) == dict.fromkeys([a.name for a in ROUTED], weights)


@pytest.mark.parametrize("weights", ["auto", "a=b,c.pt", "s3://bucket/x.pt"])
def test_single_arch_takes_the_value_unchanged(weights):
    assert weights_by_arch(weights, ROUTED[1:2]) == {"passt_20sec": weights}


def test_sources_may_be_in_any_order_and_use_any_name_of_an_arch():
    given = "passt_30sec=s3://b/c=d.pt, passt_10sec=a.pt,passt_20sec=random:1"
    assert weights_by_arch(given, ROUTED) == {
        DEFAULT_ARCH: "a.pt",
        "passt_20sec": "random:1",
        "passt_30sec": "s3://b/c=d.pt",
    }


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("passt_20sec=a.pt", f"weights of {DEFAULT_ARCH}, passt_30sec are missing"),
        ("a.pt", "weights 'a.pt': long_clips route takes ARCH=SOURCE for each of"),
        ("passt_20sec=", "weights 'passt_20sec=': long_clips route takes"),
        ("", "weights '': long_clips route takes"),
        ("passt_20sec=a,passt_20sec=b", "passt_20sec is given twice"),
        ("openmic=a.pt", "openmic is no arch of this run"),
        ("passt_xl=a.pt", "unknown arch 'passt_xl'"),
    ],
)
def test_weights_that_do_not_fit_the_routes_are_refused(weights, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        weights_by_arch(weights, ROUTED)
