"""Settings: what is refused, in which words, and which source of a value wins."""

import pytest

from jobs.config import EmbedConfig, load_config
from pipeline.errors import UsageError

GIVEN = {"sources": ("a",), "table": "b"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"arch": "passt_xl"}, "unknown arch 'passt_xl'; the archs are: passt_s_swa"),
        ({"window_s": 12}, "window_s must be at most 10.0 for arch 'passt_s_swa_p16_128_ap476'"),
        ({"window_s": 0.1}, "window_s must be at least 0.1500 for arch"),
        ({"window_s": float("nan")}, "window_s: Input should be"),
        ({"hop_s": 0}, "hop_s: Input should be greater than 0 (got 0)"),
        ({"hop_s": 1e-9}, "hop_s must be at least one sample"),
        ({"padding": "zero"}, "padding: Input should be 'hear' or 'none' (got 'zero')"),
        ({"tables": "windows"}, "tables must include 'clips'"),
        ({"tables": "clips,timestamps"}, "(got 'timestamps')"),
        ({"outputs": "logits"}, "outputs must include 'embedding'"),
        ({"actors": "0"}, "actors must be auto or at least 1 (got 0)"),
        ({"actors": "many"}, "actors: "),
        ({"shard_clips": 0}, "shard_clips: Input should be greater than or equal to 1 (got 0)"),
        ({"max_error_ratio": 2}, "max_error_ratio: Input should be less than or equal to 1"),
        ({"widnow_s": 2}, "unknown setting 'widnow_s'; the settings are: sources, table, arch"),
        ({"table": None}, "passtream embed SOURCE... TABLE"),
    ],
)
def test_what_cannot_work_is_refused_by_name(options, told):
    with pytest.raises(UsageError) as refused:
        load_config(None, GIVEN | options)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_longer_windows_go_with_longer_archs():
    config = load_config(None, GIVEN | {"arch": "passt_20sec", "window_s": 20})
    assert config.window_s == 20


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("sources: [x, y]\ntable: t\nhop_s: 5\nwindow_s: 8\n")
    config = load_config(path, {"hop_s": 1, "window_s": None})
    assert (config.sources, config.hop_s, config.window_s) == (("x", "y"), 1, 8)
    assert config.padding == EmbedConfig.model_fields["padding"].default


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00"])
def test_files_that_are_no_mapping_are_refused(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"run\.yaml"):
        load_config(path, {})


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml", {})
