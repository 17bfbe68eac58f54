"""Tests of the settings saved in a table: complete enough for `retry`, and without secrets."""

import json
import os

import pytest

from jobs.settings.load_config import load_config
from jobs.settings.saved_settings import SETTINGS_NAME, load_settings, save_settings
from pipeline.errors import UsageError
from pipeline.table.store.local import LocalStore
from pipeline.table_layout import META_DIR

SECRET = "very-secret-of-the-tests"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The user's configuration folder; tests replace it to act as another user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "table")
    store.create((META_DIR,))
    return store


def save_and_load(store, **options):
    save_settings(store, load_config(None, {"sources": ("a",), "table": "t"} | options))
    return load_settings(store)


def test_settings_of_the_table_are_saved_without_those_of_the_machine(store):
    settings = save_and_load(
        store,
        sources=("corpus", "s3://bucket/more", "/abs/*.wav"),
        weights="my.pt",
        hop_s=5,
        include="*.wav",
        address="auto",
        in_process=True,
        storage_options=[f"secret={SECRET}"],
        prune=True,
        retry="all",
        new_spec=True,
        log_format="json",
    )
    here = os.getcwd()
    assert settings == {
        "sources": [f"{here}/corpus", "s3://bucket/more", "/abs/*.wav"],
        "weights": f"{here}/my.pt",
        "hop_s": 5,
        "include": ["*.wav"],
    }
    reloaded = load_config(None, {"table": "t"}, settings)
    assert (reloaded.hop_s, reloaded.sources[0]) == (5, f"{here}/corpus")
    assert load_config(None, {"table": "t", "hop_s": 2}, settings).hop_s == 2


def test_unchanged_settings_are_not_written_again(store):
    save_and_load(store)
    before = store.path(SETTINGS_NAME).stat()
    save_and_load(store, address="auto")
    assert store.path(SETTINGS_NAME).stat() == before
    assert save_and_load(store, hop_s=1)["hop_s"] == 1


@pytest.mark.parametrize(
    ("options", "withheld"),
    [
        ({"sources": ("-",)}, "the sources of"),
        ({"sources": ("https://h/a.wav?X-Amz-Signature=0123456789abcdef",)}, "the sources of"),
        ({"sources": ("s3://b", *map(str, range(200_000)))}, "the sources of"),
        ({"weights": "https://h/w.pt?sig=0123456789abcdef&se=1"}, "the weights of"),
    ],
)
def test_withheld_settings_are_asked_for(store, options, withheld):
    with pytest.raises(
        UsageError, match=rf"does not hold {withheld}.*--config file, or run the same"
    ):
        save_and_load(store, **options)
    assert "0123456789abcdef" not in store.read(SETTINGS_NAME).decode()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"settings": 1, "withheld": []}'])
def test_damaged_settings_file_is_refused_with_its_name(store, content):
    store.path(SETTINGS_NAME).write_bytes(content)
    with pytest.raises(UsageError, match=r"settings\.json is damaged"):
        load_settings(store)


def test_settings_file_is_json_with_a_seal(store):
    save_and_load(store)
    assert set(json.loads(store.read(SETTINGS_NAME))) == {"settings", "withheld", "seal"}


def save_as_another_user(store, home, monkeypatch, **options):
    """Save the settings of the table as another user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home.parent / "other-user"))
    options = {"sources": ("/etc/secrets/\x1b[31m", "http://10.0.0.1/a.wav")} | options
    save_settings(store, load_config(None, {"table": "t"} | options))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))


def test_own_settings_need_no_confirmation(store, capsys):
    assert save_and_load(store)["sources"]
    assert capsys.readouterr() == ("", "")


def test_sources_of_another_users_settings_are_shown_and_need_confirmation(
    store, home, monkeypatch, capsys
):
    save_as_another_user(store, home, monkeypatch, weights="evil.pt")
    # The user cannot be asked, because standard input is not a terminal.
    with pytest.raises(UsageError) as raised:
        load_settings(store)
    message = str(raised.value)
    for part in ("/etc/secrets/\\x1b[31m, http://10.0.0.1/a.wav", "evil.pt", "--yes"):
        assert part in message
    assert "\x1b" not in message
    assert load_settings(store, is_agreed=True)["sources"][1] == "http://10.0.0.1/a.wav"
    assert "  http://10.0.0.1/a.wav\n" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["settings", "no seal", "other seal", "text"])
def test_modified_settings_count_as_another_users(store, change):
    save_and_load(store)
    content = json.loads(store.read(SETTINGS_NAME))
    content["settings"]["sources"] += ["/etc"] if change == "settings" else []
    content["seal"] = {"no seal": None, "other seal": "0" * 64, "text": "é"}.get(
        change, content["seal"]
    )
    store.path(SETTINGS_NAME).write_text(json.dumps(content))
    with pytest.raises(UsageError, match="were not written by you"):
        load_settings(store)


def test_seal_is_valid_after_the_table_was_moved(store, tmp_path):
    expected = save_and_load(store)
    store.root.rename(tmp_path / "moved")
    assert load_settings(LocalStore(tmp_path / "moved")) == expected


def test_key_is_private_and_is_not_used_if_others_can_read_it(store, home):
    save_and_load(store)
    key = home / "passtream" / "settings.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    key.chmod(0o644)
    with pytest.raises(UsageError, match="were not written by you"):
        load_settings(store)


def test_settings_are_saved_without_a_seal_if_home_cannot_be_written(store, home):
    home.write_bytes(b"in the way")
    with pytest.raises(UsageError, match="--yes agrees"):
        save_and_load(store)
    assert set(json.loads(store.read(SETTINGS_NAME))) == {"settings", "withheld"}
