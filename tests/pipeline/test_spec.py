"""`pipeline.spec`: written, read back, and compared field by field."""

import dataclasses
import json

import pytest

from pipeline.errors import UsageError
from pipeline.packets import DecodeRule
from pipeline.spec import SCHEMA_VERSION, TableSpec
from pipeline.windows import WindowRule

# Another value for each field that is compared.
OTHERS = {
    "arch": "other",
    "weights_digest": "1" * 64,
    "min_samples": 33,
    "embedding_dim": 5,
    "n_classes": 4,
    "front_end_hop": 100,
    "window_s": 0.02,
    "hop_s": 0.0025,
    "padding": "none",
    "pad_short": True,
    "tables": ("clips", "windows"),
    "outputs": ("embedding", "logits"),
    "sample_rate_hz": 16_000,
    "schema_version": SCHEMA_VERSION + 1,
}


def test_json_round_trip(make_spec):
    spec = make_spec(tables=("clips", "windows"), outputs=("logits",), window_s=0.1 + 0.2)
    assert TableSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_every_field_but_the_origin_of_the_weights_is_compared():
    assert {field.name for field in dataclasses.fields(TableSpec)} == {*OTHERS, "weights_origin"}


@pytest.mark.parametrize("field", OTHERS)
def test_differences_are_named_and_change_the_digest(make_spec, field):
    spec, other = make_spec(), make_spec(**{field: OTHERS[field]})
    assert spec.differences(other) == [f"{field}: {getattr(spec, field)!r}, {OTHERS[field]!r}"]
    assert spec.digest != other.digest


def test_the_origin_of_the_weights_makes_no_difference(make_spec):
    one, other = make_spec(weights_origin="published"), make_spec(weights_origin="custom")
    assert one.digest == other.digest
    assert one.differences(other) == []


def test_all_differences_are_named(make_spec):
    assert len(make_spec().differences(make_spec(**OTHERS))) == len(OTHERS)


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
