"""The settings of the last run into a table, saved in the table for `passtream retry`.

They name the sources, the model and the outputs, but not where the run took place or how the stores
were accessed. A setting that contains a secret or cannot be reproduced is not saved; its name is
recorded as withheld.
"""

import json
import os
from typing import Any

from jobs.settings.config import EmbedConfig
from jobs.settings.settings_seal import confirm_foreign_settings, is_sealed, seal_of
from pipeline.errors import UsageError
from pipeline.io.protocols import is_uri
from pipeline.table.store.base import TableStore
from pipeline.table_layout import META_DIR

SETTINGS_NAME = f"{META_DIR}/settings.json"
STDIN = "-"
_MAX_LENGTH = 1 << 20
"""Longest value that is saved, in characters of JSON."""
_NOT_SAVED = {
    *("table", "address", "in_process", "actors", "gpus_per_actor", "actor_timeout_s"),
    *("log_format", "storage_options", "store_timeout_s"),
    *("prune", "max_prune_ratio", "retry", "new_spec"),
}
"""Settings of one run or machine, which a retry does not repeat."""


def save_settings(store: TableStore, config: EmbedConfig) -> None:
    """Save a run's settings in its table, unless the table already has the same settings.

    Args:
        store: The table's files; the caller holds the table's lock.
        config: Settings of the run.

    Raises:
        StoreError: The settings cannot be read or written.
    """
    note = _settings_note(config)
    if seal := seal_of(note):
        note["seal"] = seal
    content = json.dumps(note, indent=1).encode()
    if store.read(SETTINGS_NAME) != content:
        with store.replacing(SETTINGS_NAME) as path:
            path.write_bytes(content)


def load_settings(store: TableStore, is_agreed: bool = False) -> dict[str, Any]:
    """Return the settings of the last run into a table, by field name.

    Args:
        store: The table's files.
        is_agreed: Whether to accept settings that another user wrote without asking.

    Raises:
        UsageError: The table has no settings, or some were withheld; the message says what to do.
            Or the user does not agree to the sources that another user's settings name.
    """
    way_out = "give them in a --config file, or run the same `passtream embed` with --retry"
    content = store.read(SETTINGS_NAME)
    if content is None:
        raise UsageError(f"table {store.location}: holds no settings of an earlier run; {way_out}")
    try:
        note = json.loads(content)
        settings, withheld = dict(note["settings"]), list(note["withheld"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{store.locate(SETTINGS_NAME)} is damaged ({error}); {way_out}"
        ) from error
    if withheld:
        raise UsageError(
            f"table {store.location}: does not hold the {' and '.join(withheld)} of its last run, "
            f"which came from standard input, are secret or too many to save; {way_out}"
        )
    if not is_sealed(note):
        confirm_foreign_settings(store.location, settings, is_agreed)
    return settings


def _settings_note(config: EmbedConfig) -> dict[str, Any]:
    given = config.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_SAVED)
    given["sources"] = [_to_absolute(source) for source in config.sources]
    if not config.weights.startswith(("auto", "random:")) and "=" not in config.weights:
        given["weights"] = _to_absolute(config.weights)
    withheld = [name for name, value in given.items() if not _can_be_saved(value, config)]
    settings = {name: value for name, value in given.items() if name not in withheld}
    return {"settings": settings, "withheld": withheld}


def _can_be_saved(value: Any, config: EmbedConfig) -> bool:
    text = json.dumps(value)
    is_secret = config.storage.redact(text) != text
    return not is_secret and len(text) <= _MAX_LENGTH and value != [STDIN]


def _to_absolute(location: str) -> str:
    return location if is_uri(location) or location == STDIN else os.path.abspath(location)
