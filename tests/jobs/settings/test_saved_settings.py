"""What a table keeps of the settings of its last run: what `retry` needs, and no secrets."""

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
    """A user's configuration folder; another value of it stands for another user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "table")
    store.create((META_DIR,))
    return store


def noted(store, **options):
    save_settings(store, load_config(None, {"sources": ("a",), "table": "t"} | options))
    return load_settings(store)


def test_what_the_table_was_made_of_and_not_where(store):
    settings = noted(
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
    again = load_config(None, {"table": "t"}, settings)
    assert (again.hop_s, again.sources[0]) == (5, f"{here}/corpus")
    assert load_config(None, {"table": "t", "hop_s": 2}, settings).hop_s == 2


def test_the_same_settings_are_not_written_again(store):
    noted(store)
    before = store.path(SETTINGS_NAME).stat()
    noted(store, address="auto")
    assert store.path(SETTINGS_NAME).stat() == before
    assert noted(store, hop_s=1)["hop_s"] == 1


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"sources": ("-",)}, "the sources of"),
        ({"sources": ("https://h/a.wav?X-Amz-Signature=0123456789abcdef",)}, "the sources of"),
        ({"sources": ("s3://b", *map(str, range(200_000)))}, "the sources of"),
        ({"weights": "https://h/w.pt?sig=0123456789abcdef&se=1"}, "the weights of"),
    ],
)
def test_what_cannot_be_kept_is_asked_for(store, options, what):
    with pytest.raises(UsageError, match=rf"does not hold {what}.*--config file, or run the same"):
        noted(store, **options)
    assert "0123456789abcdef" not in store.read(SETTINGS_NAME).decode()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"settings": 1, "withheld": []}'])
def test_a_damaged_note_is_named(store, content):
    store.path(SETTINGS_NAME).write_bytes(content)
    with pytest.raises(UsageError, match=r"settings\.json is damaged"):
        load_settings(store)


def test_it_is_json(store):
    noted(store)
    assert set(json.loads(store.read(SETTINGS_NAME))) == {"settings", "withheld", "seal"}


def of_a_stranger(store, home, monkeypatch, **options):
    """Have another user write the settings of the table."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home.parent / "stranger"))
    options = {"sources": ("/etc/secrets/\x1b[31m", "http://10.0.0.1/a.wav")} | options
    save_settings(store, load_config(None, {"table": "t"} | options))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))


def test_sources_that_this_user_named_need_no_yes(store, capsys):
    assert noted(store)["sources"]
    assert capsys.readouterr() == ("", "")


def test_sources_of_a_strangers_table_are_shown_and_need_a_yes(store, home, monkeypatch, capsys):
    of_a_stranger(store, home, monkeypatch, weights="evil.pt")
    # The tests' standard input is no terminal.
    with pytest.raises(UsageError) as raised:
        load_settings(store)
    told = str(raised.value)
    for part in ("/etc/secrets/\\x1b[31m, http://10.0.0.1/a.wav", "evil.pt", "--yes"):
        assert part in told
    assert "\x1b" not in told
    assert load_settings(store, is_agreed=True)["sources"][1] == "http://10.0.0.1/a.wav"
    assert "  http://10.0.0.1/a.wav\n" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["settings", "no seal", "other seal", "text"])
def test_settings_that_were_changed_since_are_a_strangers(store, change):
    noted(store)
    content = json.loads(store.read(SETTINGS_NAME))
    content["settings"]["sources"] += ["/etc"] if change == "settings" else []
    content["seal"] = {"no seal": None, "other seal": "0" * 64, "text": "é"}.get(
        change, content["seal"]
    )
    store.path(SETTINGS_NAME).write_text(json.dumps(content))
    with pytest.raises(UsageError, match="were not written by you"):
        load_settings(store)


def test_the_seal_holds_for_a_table_that_was_moved(store, tmp_path):
    expected = noted(store)
    store.root.rename(tmp_path / "moved")
    assert load_settings(LocalStore(tmp_path / "moved")) == expected


def test_the_key_is_the_users_alone_and_one_that_others_can_read_is_not_used(store, home):
    noted(store)
    key = home / "passtream" / "settings.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key.parent.iterdir()] == [key.name]
    key.chmod(0o644)
    with pytest.raises(UsageError, match="were not written by you"):
        load_settings(store)


def test_a_home_that_cannot_be_written_keeps_no_run_from_its_settings(store, home):
    home.write_bytes(b"in the way")
    with pytest.raises(UsageError, match="--yes agrees"):
        noted(store)
    assert set(json.loads(store.read(SETTINGS_NAME))) == {"settings", "withheld"}
