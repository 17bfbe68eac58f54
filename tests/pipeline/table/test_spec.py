"""`pipeline.table.spec`: written, read back, and compared field by field."""

import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.limits import Limits
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.windows import WindowRule
from pipeline.table.spec import SCHEMA_VERSION, Route, TableSpec

ROUTE = Route("statistics", 0.01, "random:0", "0" * 64, 320)
# Another value for each setting that is compared, and how the two are shown.
OTHERS = {
    "min_samples": (33, "32, 33"),
    "embedding_dim": (5, "4, 5"),
    "n_classes": (4, "3, 4"),
    "window_s": (0.02, "0.01, 0.02"),
    "hop_s": (0.0025, "0.005, 0.0025"),
    "long_clips": ("route", "'window', 'route'"),
    "padding": ("none", "'hear', 'none'"),
    "pad_short": (True, "False, True"),
    "max_clip_s": (60.0, "86400.0, 60.0"),
    "max_clip_bytes": (1000, f"{16 << 30}, 1000"),
    "short_tolerance": (0.5, "0.01, 0.5"),
    "tables": (("clips", "windows"), "clips, clips,windows"),
    "outputs": (("embedding", "logits"), "embedding, embedding,logits"),
    "top_k": (5, "0, 5"),
    "precision": ("bf16", "'fp32', 'bf16'"),
    "columns": (("label", "split"), "none, label,split"),
    "timestamps": ("base", "'', 'base'"),
    "timestamp_dim": (1295, "0, 1295"),
    "timestamp_window": (5120, "0, 5120"),
    "timestamp_hop": (800, "1600, 800"),
    "sample_rate_hz": (16_000, "32000, 16000"),
    "schema_version": (SCHEMA_VERSION + 1, f"{SCHEMA_VERSION}, {SCHEMA_VERSION + 1}"),
}
ROUTE_OTHERS = {
    "arch": ("other", "arch: statistics, other"),
    "weights_digest": ("1" * 64, "weights: 000000000000, 111111111111"),
    "front_end_hop": (100, "front_end_hop: 320, 100"),
}


def test_json_round_trip(make_spec, routed):
    for changes in (routed, {"outputs": ("logits",), "window_s": 0.1 + 0.2}):
        spec = make_spec(tables=("clips", "windows"), **changes)
        assert TableSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_every_field_but_the_origin_of_the_weights_is_compared():
    assert {field.name for field in dataclasses.fields(TableSpec)} == {*OTHERS, "routes"}
    # A single route's length is `window_s`.
    assert {field.name for field in dataclasses.fields(Route)} == {
        *ROUTE_OTHERS,
        "up_to_s",
        "weights_origin",
    }


@pytest.mark.parametrize("field", OTHERS)
def test_differences_are_named_and_change_the_digest(make_spec, field):
    value, shown = OTHERS[field]
    spec, other = make_spec(), make_spec(**{field: value})
    assert spec.differences(other) == [f"{field}: {shown}"]
    assert spec.digest != other.digest


@pytest.mark.parametrize("field", ROUTE_OTHERS)
def test_differences_of_the_route_are_named_and_change_the_digest(make_spec, field):
    value, shown = ROUTE_OTHERS[field]
    spec = make_spec()
    other = make_spec(routes=(dataclasses.replace(ROUTE, **{field: value}),))
    assert spec.differences(other) == [shown]
    assert spec.digest != other.digest


def test_differences_of_one_route_among_several(make_spec, routed):
    first, second, third = routed["routes"]
    changed = (
        dataclasses.replace(first, up_to_s=0.005, weights_origin="custom"),
        dataclasses.replace(second, weights_digest="1" * 64),
        third,
    )
    spec, other = make_spec(**routed), make_spec(**routed | {"routes": changed})
    assert spec.differences(other) == [
        "weights: 101010101010,202020202020,303030303030, 101010101010,111111111111,303030303030",
        "route_up_to_s: 0.01,0.02, 0.005,0.02",
    ]


def test_the_origin_of_the_weights_makes_no_difference(make_spec):
    one = make_spec()
    other = make_spec(routes=(dataclasses.replace(ROUTE, weights_origin="published"),))
    assert one.digest == other.digest
    assert one.differences(other) == []


def test_all_differences_are_named(make_spec):
    other = {field: value for field, (value, _) in OTHERS.items()}
    assert len(make_spec().differences(make_spec(**other))) == len(OTHERS)


def test_a_digest_outlives_the_process(make_spec):
    # Read back from JSON, where tuples have become lists.
    spec = make_spec()
    assert TableSpec.from_json(json.loads(json.dumps(spec.to_json()))).digest == spec.digest


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, None, "1"])
def test_another_schema_version_is_refused(make_spec, version):
    fields = make_spec().to_json() | {"schema_version": version}
    with pytest.raises(UsageError, match=f"schema version {version}.*writes {SCHEMA_VERSION}"):
        TableSpec.from_json(fields)


def test_rules_are_in_samples(make_spec):
    # 32 samples a millisecond.
    spec = make_spec(window_s=0.010, hop_s=0.0025, padding="none", min_samples=7, pad_short=True)
    assert spec.window_rule == WindowRule(320, 80, "none")
    assert spec.decode_rule == DecodeRule(spec.window_rule, 7, pad_short=True)
    limits = {"max_clip_s": 60.0, "max_clip_bytes": 1000, "short_tolerance": 0.5}
    assert make_spec(**limits).decode_rule.limits == Limits(**limits)


@pytest.mark.parametrize(
    ("n_samples", "arch"),
    # 10, 20 and 30 ms are 320, 640 and 960 samples.
    [(1, "to_10"), (320, "to_10"), (321, "to_20"), (640, "to_20"), (641, "to_30"), (960, "to_30"),
     (961, "to_30"), (10**9, "to_30")],
)  # fmt: skip
def test_clips_and_windows_go_the_route_of_their_length(make_spec, routed, n_samples, arch):
    spec = make_spec(**routed)
    assert spec.arch_for(n_samples) == arch
    rule = spec.window_rule
    # What is cut is cut into windows of the last route.
    assert spec.arch_for(min(n_samples, rule.window)) == arch


def test_without_timestamps_there_is_no_rule_for_them(make_spec):
    spec = make_spec()
    assert spec.timestamp_rule is spec.decode_rule.timestamps is None
    assert (spec.shortest_clip, spec.n_timestamps(1000)) == (32, 0)


def test_timestamps_lie_on_multiples_of_the_hop_up_to_the_end(make_spec, timestamps):
    spec = make_spec(**timestamps)
    assert spec.timestamp_rule == WindowRule(640, 160, "hear", whole=False)
    # Windows of 640 are reflected by 320, which takes one sample more than that.
    assert spec.decode_rule == DecodeRule(spec.window_rule, 321, timestamps=spec.timestamp_rule)
    assert [spec.n_timestamps(n) for n in (321, 479, 480, 1000)] == [3, 3, 4, 7]
    # Padded to 321 samples.
    assert spec.n_timestamps(1) == 3
    assert spec.timestamp_ms(np.arange(4)).tolist() == [0, 5, 10, 15]


def test_hear_timestamps_are_50_ms_apart(make_spec, timestamps):
    spec = make_spec(**timestamps | {"timestamp_window": 5120, "timestamp_hop": 1600})
    # The arch takes less than half a window of 160 ms and one sample.
    assert spec.shortest_clip == 2561
    assert make_spec(**timestamps, min_samples=4801).shortest_clip == 4801
    # Ten seconds have 201 of them.
    index = np.arange(spec.n_timestamps(320_000))
    assert spec.timestamp_ms(index).tolist() == [50 * i for i in range(201)]


def test_a_spec_of_no_arch_is_refused(make_spec):
    with pytest.raises(ValueError, match="names no arch"):
        TableSpec.from_json(make_spec().to_json() | {"routes": []})
