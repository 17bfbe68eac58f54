"""Which hosts a list of recordings may name and which parts of URLs are kept, for verify and plan.

Such settings decide which clips there are, so what is not given is as in the table's last run.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jobs.settings.parsing import split_commas
from jobs.settings.saved_settings import SETTINGS_NAME
from pipeline.io.http.host_rules import HostRules
from pipeline.io.signed_urls import QueryRule
from pipeline.sources.listing import SourceOptions
from pipeline.table.store.base import TableStore

RULE_NAMES = ("allow_hosts", "no_local", "keep_query", "strip_query")
"""Settings of a run that decide it."""


def rules_of_table(store: TableStore) -> dict[str, Any]:
    """Return these settings of a table's last run; empty where it has left none.

    Args:
        store: The files of the table.
    """
    try:
        settings = json.loads(store.read(SETTINGS_NAME) or b"{}").get("settings", {})
        return {name: settings[name] for name in RULE_NAMES if name in settings}
    except (ValueError, TypeError, AttributeError):
        return {}  # a damaged note is for `retry` to refuse


def with_rules(
    options: SourceOptions, given: Mapping[str, Any], store: TableStore
) -> SourceOptions:
    """Return the options of a source with the rules that were given, or are the table's.

    Args:
        options: How the source is taken.
        given: Settings by name; None values were not given.
        store: The files of the table.
    """
    rules = rules_of_table(store) | {k: v for k, v in given.items() if v is not None}
    names = {name: _as_names(rules.get(name, ())) for name in RULE_NAMES if name != "no_local"}
    hosts = HostRules(names["allow_hosts"], bool(rules.get("no_local")))
    return replace(
        options,
        storage=replace(options.storage, rules=hosts),
        query=QueryRule(names["keep_query"], names["strip_query"]),
    )


def _as_names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_commas(value)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
