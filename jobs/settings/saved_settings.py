"""The settings that a table was last embedded with, kept in it for `passtream retry`.

Sources, model and what is written: not where it ran, nor how the stores are reached. What holds a
secret, or cannot be had again, is left out, and said to be.
"""

import json
import os
from typing import Any

from jobs.settings.config import EmbedConfig
from jobs.settings.settings_seal import ask_for_settings_of_others, is_sealed, seal_of
from pipeline.errors import UsageError
from pipeline.io.storage import is_uri
from pipeline.table.store.base import TableStore
from pipeline.table_layout import META_DIR

SETTINGS_NAME = f"{META_DIR}/settings.json"
STDIN = "-"
_MOST_BYTES = 1 << 20
_OF_THE_PLACE = {
    *("table", "address", "in_process", "actors", "gpus_per_actor", "actor_timeout_s"),
    *("log_format", "storage_options", "store_timeout_s"),
    *("prune", "max_prune_ratio", "retry", "new_spec"),
}


def save_settings(store: TableStore, config: EmbedConfig) -> None:
    """Keep a run's settings, where the table does not have the same ones already.

    Args:
        store: of the table, whose lock is held.
        config: of the run.

    Raises:
        StoreError: the store refused.
    """
    noted = _noted(config)
    if seal := seal_of(noted):
        noted["seal"] = seal
    content = json.dumps(noted, indent=1).encode()
    if store.read(SETTINGS_NAME) != content:
        with store.replacing(SETTINGS_NAME) as path:
            path.write_bytes(content)


def load_settings(store: TableStore, is_agreed: bool = False) -> dict[str, Any]:
    """The settings of the last run into a table.

    Args:
        store: Store of the table.
        is_agreed: Whether settings that another user wrote are taken without a question.

    Raises:
        UsageError: there are none, or what cannot be kept is missing; the message says what to do.
            Or the user does not agree to what another user's settings name.
    """
    again = "give them in a --config file, or run the same `passtream embed` with --retry"
    content = store.read(SETTINGS_NAME)
    if content is None:
        raise UsageError(f"table {store.location}: holds no settings of an earlier run; {again}")
    try:
        noted = json.loads(content)
        settings, withheld = dict(noted["settings"]), list(noted["withheld"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{store.locate(SETTINGS_NAME)} is damaged ({error}); {again}") from error
    if withheld:
        raise UsageError(
            f"table {store.location}: does not hold the {' and '.join(withheld)} of its last run, "
            f"which came by standard input, are secret or too many; {again}"
        )
    if not is_sealed(noted):
        ask_for_settings_of_others(store.location, settings, is_agreed)
    return settings


def _noted(config: EmbedConfig) -> dict[str, Any]:
    given = config.model_dump(mode="json", exclude_defaults=True, exclude=_OF_THE_PLACE)
    given["sources"] = [_from_anywhere(source) for source in config.sources]
    if not config.weights.startswith(("auto", "random:")) and "=" not in config.weights:
        given["weights"] = _from_anywhere(config.weights)
    withheld = [name for name, value in given.items() if not _may_be_kept(value, config)]
    settings = {name: value for name, value in given.items() if name not in withheld}
    return {"settings": settings, "withheld": withheld}


def _may_be_kept(value: Any, config: EmbedConfig) -> bool:
    text = json.dumps(value)
    is_secret = config.storage.redact(text) != text
    return not is_secret and len(text) <= _MOST_BYTES and value != [STDIN]


def _from_anywhere(location: str) -> str:
    return location if is_uri(location) or location == STDIN else os.path.abspath(location)
