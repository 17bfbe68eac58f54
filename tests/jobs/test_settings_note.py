"""What a table keeps of the settings of its last run: what `retry` needs, and no secrets."""

import json
import os

import pytest

from jobs.configure import load_config
from jobs.settings_note import SETTINGS_NAME, note_settings, noted_settings
from pipeline.errors import UsageError
from pipeline.local_store import LocalStore
from pipeline.store import META_DIR

SECRET = "very-secret-of-the-tests"


@pytest.fixture
def store(tmp_path):
    store = LocalStore(tmp_path / "table")
    store.create((META_DIR,))
    return store


def noted(store, **options):
    note_settings(store, load_config(None, {"sources": ("a",), "table": "t"} | options))
    return noted_settings(store)


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
        noted_settings(store)


def test_it_is_json(store):
    noted(store)
    assert set(json.loads(store.read(SETTINGS_NAME))) == {"settings", "withheld"}
