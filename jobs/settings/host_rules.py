"""The rules for hosts and URL parameters, as `verify` and `plan` apply them.

The rules decide which clips a source has. So a rule that is not given is taken from the table's
last run.
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
"""Settings that limit the hosts a list may name, and select the URL parameters that are kept."""


def read_saved_rules(store: TableStore) -> dict[str, Any]:
    """Return the rules of a table's last run, by setting; empty if the table has no settings.

    Args:
        store: The table's files.
    """
    try:
        settings = json.loads(store.read(SETTINGS_NAME) or b"{}").get("settings", {})
        return {name: settings[name] for name in RULE_NAMES if name in settings}
    except (ValueError, TypeError, AttributeError):
        return {}  # only `retry` depends on the file, and refuses a damaged one


def apply_host_rules(
    options: SourceOptions, given: Mapping[str, Any], store: TableStore
) -> SourceOptions:
    """Return options with the rules that were given, and the table's rules for the others.

    Args:
        options: Options for listing the source.
        given: Rules by setting; None for a rule that was not given.
        store: The table's files.
    """
    rules = read_saved_rules(store) | {k: v for k, v in given.items() if v is not None}
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
