"""Tests of `EmbedConfig`: the messages for invalid settings, and the derived values."""

import pytest

from jobs.settings.load_config import load_config
from pipeline.errors import UsageError
from pipeline.io.storage import Storage

GIVEN = {"sources": ("a",), "table": "b"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"arch": "passt_xl"}, "unknown arch 'passt_xl'; the archs are: passt_s_swa"),
        ({"window_s": 12}, "--window-s must be at most 10.0 for arch 'passt_s_swa_p16_128_ap476'"),
        ({"window_s": 0.1}, "--window-s must be at least 0.1501 for arch"),
        ({"window_s": float("nan")}, "--window-s must be greater than 0 (got nan)"),
        ({"hop_s": 0}, "--hop-s must be greater than 0 (got 0)"),
        ({"hop_s": 1e-9}, "--hop-s must be at least one sample"),
        ({"padding": "zero"}, "--padding must be one of hear, none (got 'zero')"),
        (
            {"tables": "clips,moments"},
            "--tables must be one of clips, windows, timestamps (got 'moments')",
        ),
        (
            {"precision": "fp8"},
            "--precision must be one of fp32, tf32, bf16, fp16, int8 (got 'fp8')",
        ),
        (
            {"outputs": "embedding,labels", "top_k": 528},
            "--top-k must be 1 to 527, the classes of arch",
        ),
        (
            {"outputs": "embedding,labels", "top_k": 0},
            "--top-k must be 1 to 527, the classes of arch",
        ),
        ({"outputs": "embedding,labels", "top_k": 21, "arch": "openmic"}, "must be 1 to 20"),
        ({"top_k": 5}, "--top-k needs outputs labels"),
        ({"timestamps": "base"}, "--timestamps needs its table: --tables timestamps"),
        ({"tables": "clips,timestamps", "timestamps": "mel"}, "--timestamps must be one of base, "),
        # The window must be longer than half of 800 ms.
        (
            {"tables": "clips,timestamps", "timestamps": "base2level", "window_s": 0.4},
            "--window-s must be at least 0.4001 for arch 'passt_s_swa_p16_128_ap476', timestamps",
        ),
        ({"long_clips": "split"}, "--long-clips must be one of window, route (got 'split')"),
        ({"long_clips": "route", "window_s": 30}, "--window-s goes with --long-clips window only"),
        ({"long_clips": "route", "hop_s": 1e-9}, "--hop-s must be at least one sample"),
        ({"long_clips": "route", "arch": "passt_20sec"}, "got 'passt_20sec': audioset, 20 s"),
        ({"long_clips": "route", "arch": "fsd50k"}, "got 'fsd50k': fsd50k, 10 s"),
        (
            {"long_clips": "route", "weights": "x.pt"},
            "--weights 'x.pt': --long-clips route takes ARCH=",
        ),
        ({"actors": "0"}, "--actors must be auto or at least 1 (got 0)"),
        ({"actors": "many"}, "--actors must be a whole number or auto (got 'many')"),
        ({"shard_clips": 0}, "--shard-clips must be at least 1 (got 0)"),
        ({"short_tolerance": 1.5}, "--short-tolerance must be at most 1 (got 1.5)"),
        ({"short_tolerance": -0.1}, "--short-tolerance must be at least 0 (got -0.1)"),
        ({"arch": "passt_20s"}, "unknown arch 'passt_20s'; did you mean 'passt_20sec'? The archs"),
        ({"tables": "window"}, "(got 'window'); did you mean 'windows'?"),
        ({"source_format": "tra"}, "unknown --source-format 'tra'; did you mean 'tar'? The"),
        ({"retry": "undecodeable"}, "unknown class 'undecodeable'; did you mean 'undecodable'?"),
        ({"hop_s": "ten"}, "--hop-s must be a number (got 'ten')"),
        ({"top_k": "2.5"}, "--top-k must be a whole number (got '2.5')"),
        ({"prune": "perhaps"}, "--prune must be true or false (got 'perhaps')"),
        (
            {"max_clip_bytes": "1XB"},
            "--max-clip-bytes must be a size, as 2GiB, 500MB or 1000000 (got",
        ),
        ({"max_clip_bytes": "9e999"}, "--max-clip-bytes must be a size, as 2GiB"),
        ({"hop_s": "inf"}, "--hop-s must be a finite number (got 'inf')"),
        ({"max_clip_s": 0}, "--max-clip-s must be greater than 0 (got 0)"),
        ({"max_clip_s": float("inf")}, "--max-clip-s must be a finite number (got inf)"),
        ({"max_clip_bytes": 0}, "--max-clip-bytes must be at least 1 (got 0)"),
        ({"max_error_ratio": 2}, "--max-error-ratio must be at most 1 (got 2)"),
    ],
)
def test_invalid_setting_is_refused_with_its_name(options, expected):
    with pytest.raises(UsageError) as refused:
        load_config(None, GIVEN | options)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (10, 2.5)),
        ({"arch": "passt_20sec"}, (20, 5)),
        ({"arch": "passt_30sec"}, (30, 10)),
        ({"long_clips": "route"}, (30, 10)),
        ({"long_clips": "route", "hop_s": 15}, (30, 15)),
        ({"arch": "passt_20sec", "window_s": 15, "hop_s": 1}, (15, 1)),
    ],
)
def test_window_and_hop_default_to_those_of_the_longest_arch(options, expected):
    assert load_config(None, GIVEN | options).window_and_hop_s == expected


def test_labels_and_timestamps_have_defaults_if_their_output_is_selected():
    plain = load_config(None, GIVEN)
    assert (plain.n_labels, plain.timestamp_kind) == (0, "")
    selected = load_config(
        None, GIVEN | {"outputs": "embedding,labels", "tables": "clips,timestamps"}
    )
    assert (selected.n_labels, selected.timestamp_kind) == (5, "base")


@pytest.mark.parametrize("given", ["windows", "clips,windows", "windows,clips,windows"])
def test_required_tables_and_outputs_are_added(given):
    config = load_config(None, GIVEN | {"tables": given, "outputs": "labels"})
    assert set(config.tables) == {"clips", "windows"}
    assert len(config.tables) == 2
    assert config.outputs == ("embedding", "labels")


def test_storage_options_are_read_from_pairs_and_from_a_mapping(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("storage_options: {anon: true, client_kwargs: {region_name: eu-1}}")
    options = {"anon": True, "client_kwargs": {"region_name": "eu-1"}}
    assert dict(load_config(config, GIVEN).storage.options) == options
    pairs = ["anon=true", 'client_kwargs={"region_name": "eu-1"}']
    given = load_config(None, GIVEN | {"storage_options": pairs, "store_timeout_s": 7.5})
    assert dict(given.storage.options) == options
    assert given.storage.timeout_s == 7.5
    assert load_config(None, GIVEN).storage == Storage()
