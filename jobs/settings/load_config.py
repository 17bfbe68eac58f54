"""A YAML file and the options that were given to the settings of a run, or to one line of refusal.

An option that is given wins over the file, the file over the default.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.settings.config import EmbedConfig
from jobs.settings.refusals import explain_problems, spell_settings
from jobs.settings.yaml_file import read_yaml
from models.errors import ModelError
from pipeline.errors import UsageError


def load_config(
    path: Path | None, options: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> EmbedConfig:
    """Settings from a YAML file and the options that were given.

    Args:
        path: the file; None for none.
        options: by field name; None values were not given.
        base: settings that both of these win over.

    Raises:
        UsageError: unreadable YAML, an unknown field, a bad value; the message names it.
    """
    config = read_config(path, options, base)
    if not config.sources or not config.table:
        raise UsageError("name at least one SOURCE and the TABLE: passtream embed SOURCE... TABLE")
    return config


def read_config(
    path: Path | None, options: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> EmbedConfig:
    """As `load_config`, but sources and table need not be named.

    Args:
        path: the file; None for none.
        options: by field name; None values were not given.
        base: settings that both of these win over.

    Raises:
        UsageError: as `load_config`.
    """
    from_file = {name: value for name, value in _from_file(path).items() if value is not None}
    given = {name: value for name, value in options.items() if value is not None}
    in_file = from_file.keys() - given.keys()
    try:
        config = EmbedConfig.model_validate({**(base or {}), **from_file, **given})
    except ValidationError as error:
        raise UsageError(explain_problems(error.errors(), in_file)) from error
    except UsageError as error:
        raise UsageError(spell_settings(str(error), in_file)) from error
    except ModelError as error:
        raise UsageError(str(error)) from error
    return config


def wants_json(path: Path | None, options: Mapping[str, Any]) -> bool:
    """Whether the log is to be JSON, asked before it is known whether the settings are right."""
    given = options.get("log_format")
    if given is None:
        with contextlib.suppress(UsageError):
            given = _from_file(path).get("log_format")
    return given == "json"


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    loaded = read_yaml(path) or {}
    if not isinstance(loaded, dict):
        raise UsageError(f"config {str(path)!r} must be a mapping of settings to values")
    return loaded
