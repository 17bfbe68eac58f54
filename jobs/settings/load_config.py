"""Loading of settings from a YAML file and from options, with errors of one line.

An option overrides the file, and the file overrides the default.
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
    """Load the settings of a run, which must name its sources and its table.

    Args:
        path: The YAML file; None for no file.
        options: Options by field name; None for an option that was not given.
        base: Settings that the file and the options override.

    Raises:
        UsageError: The file cannot be read, or a setting is missing, unknown or invalid; the
            message names it.
    """
    config = read_config(path, options, base)
    if not config.sources or not config.table:
        raise UsageError("name at least one SOURCE and the TABLE: passtream embed SOURCE... TABLE")
    return config


def read_config(
    path: Path | None, options: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> EmbedConfig:
    """Load settings like `load_config`, but allow missing sources and a missing table.

    Args:
        path: The YAML file; None for no file.
        options: Options by field name; None for an option that was not given.
        base: Settings that the file and the options override.

    Raises:
        UsageError: The file cannot be read, or a setting is unknown or invalid; the message names
            it.
    """
    from_file = {name: value for name, value in _read_file(path).items() if value is not None}
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
    """Return whether the log is JSON, before the settings are checked.

    Args:
        path: The YAML file; None for no file. A file that cannot be read counts as empty.
        options: Options by field name.
    """
    given = options.get("log_format")
    if given is None:
        with contextlib.suppress(UsageError):
            given = _read_file(path).get("log_format")
    return given == "json"


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    loaded = read_yaml(path) or {}
    if not isinstance(loaded, dict):
        raise UsageError(f"config {str(path)!r} must be a mapping of settings to values")
    return loaded
