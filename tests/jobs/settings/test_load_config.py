"""Tests of `load_config`: precedence of options and file, units, and refusals."""

import itertools

import pytest
import typer

from jobs.cli.options import positive_seconds
from jobs.settings.config import EmbedConfig
from jobs.settings.load_config import load_config
from pipeline.errors import UsageError

GIVEN = {"sources": ("a",), "table": "b"}


def test_options_override_the_file_and_the_file_overrides_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("sources: [x, y]\ntable: t\nhop_s: 5\nwindow_s: 8\n")
    config = load_config(path, {"hop_s": 1, "window_s": None})
    assert (config.sources, config.hop_s, config.window_s) == (("x", "y"), 1, 8)
    assert config.padding == EmbedConfig.model_fields["padding"].default


@pytest.mark.parametrize("text", ["- a list", "a: [", "\x00"])
def test_file_that_is_not_a_mapping_is_refused(text, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"run\.yaml"):
        load_config(path, {})


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(tmp_path / "none.yaml", {})


def test_unknown_setting_is_refused_with_the_known_settings():
    with pytest.raises(UsageError) as refused:
        load_config(None, GIVEN | {"widnow_s": 2})
    message = str(refused.value)
    assert message.startswith(
        "unknown setting 'widnow_s'; did you mean 'window_s'? The settings are: sources, table, "
    )
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["sources", "table"])
def test_source_and_table_are_required(missing):
    with pytest.raises(UsageError, match=r"passtream embed SOURCE\.\.\. TABLE"):
        load_config(None, GIVEN | {missing: None})


def test_all_problems_are_reported_in_one_line():
    with pytest.raises(UsageError) as refused:
        load_config(None, GIVEN | {"hop_s": 0, "padding": "zero"})
    message = str(refused.value)
    assert "--hop-s must be greater than 0 (got 0); --padding must be one of hear, none" in message
    assert "\n" not in message


def test_credentials_in_settings_are_not_shown(tmp_path):
    given = load_config(None, GIVEN | {"storage_options": ["secret=do-not-show"]})
    assert "do-not-show" not in repr(given) + repr(given.storage)
    for wrong in (["do-not-show"], [["secret", "do-not-show"]]):
        with pytest.raises(UsageError) as raised:
            load_config(None, GIVEN | {"storage_options": wrong})
        assert "--storage-options" in str(raised.value)
        assert "do-not-show" not in str(raised.value)


NESTED_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NESTED_ALIASES, "expands to too much"),
        (f"a: &a {'x' * 100_000}\nsources: [{', '.join(['*a'] * 50)}]\n", "expands to too much"),
        ("sources: &a [x, *a]\n", "expands to too much"),
        ("sources: " + "[" * 100_000, "is nested too deeply"),
        ("x: " + "y" * 2_000_000, "has more than 1 MiB"),
        ("sources: [a\nkey: SECRET-1\n", "is no YAML: line 2, column 4: "),
        ("a: !!python/object:os.system [x]\n", "is no YAML: line 1, column 4: "),
        (b"a: \xff\n", "is no YAML: "),
        ("n: 1" + "0" * 5000, "is no YAML: "),
    ],
)
def test_unreadable_or_oversized_yaml_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        load_config(path, {})
    text = str(caught.value)
    assert f"config {str(path)!r} {message}" in text
    assert "\n" not in text
    assert len(text) < 400
    assert "SECRET" not in text


def test_ordinary_aliases_are_accepted(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("table: t\nsources: &both [a, b]\ninclude: *both\n")
    assert load_config(path, {}).include == ("a", "b")


def test_messages_spell_settings_as_they_were_given(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("sources: [x]\ntable: t\nhop_s: 0\nmax_clip_s: 0\ntables: [clps]\n")
    with pytest.raises(UsageError) as refused:
        load_config(path, {"max_clip_s": "-1s"})
    assert str(refused.value).split("; ") == [
        "hop_s must be greater than 0 (got 0)",
        "--max-clip-s must be a number (got '-1s')",
        "tables must be one of clips, windows, timestamps (got 'clps')",
        "did you mean 'clips'?",
    ]
    path.write_text("sources: [x]\ntable: t\nlong_clips: route\n")
    with pytest.raises(UsageError, match="--window-s goes with long_clips window only"):
        load_config(path, {"window_s": 5})


def test_single_source_in_yaml_needs_no_list(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("sources: /one/path, with a comma\ntable: t\ninclude:\n")
    config = load_config(path, {})
    assert config.sources == ("/one/path, with a comma",)
    assert config.include == ()


@pytest.mark.parametrize(
    ("given", "n_bytes"),
    [
        (500, 500),
        ("500", 500),
        ("1GB", 10**9),
        ("16GiB", 16 << 30),
        ("1.5 MB", 1_500_000),
        ("2k", 2000),
        ("3 kib", 3072),
        ("1TB", 10**12),
        ("1e6", 10**6),
        ("7 bytes", 7),
    ],
)
def test_sizes_may_have_units(given, n_bytes):
    assert load_config(None, GIVEN | {"max_clip_bytes": given}).max_clip_bytes == n_bytes


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(5, 5), ("5", 5), ("10s", 10), ("500 ms", 0.5), ("1.5min", 90), ("2h", 7200), ("1e1", 10)],
)
def test_durations_may_have_units(given, seconds):
    assert load_config(None, GIVEN | {"max_clip_s": given}).max_clip_s == seconds


@pytest.mark.parametrize(("given", "seconds"), [("20s", 20), ("0.5", 0.5), ("2 min", 120)])
def test_options_that_are_not_settings_accept_units_of_time(given, seconds):
    assert positive_seconds(given) == seconds


@pytest.mark.parametrize("given", ["0", "soon", "-1s", "nan", ""])
def test_invalid_duration_is_refused(given):
    with pytest.raises(typer.BadParameter, match="such as 500ms, 20s or 2min"):
        positive_seconds(given)
