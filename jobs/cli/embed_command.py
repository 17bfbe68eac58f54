"""From the options of a command to a run of `embed` and its exit code."""

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jobs.cli.options import console
from jobs.runtime.run_log import RunLog, json_log
from jobs.runtime.stop_signals import stop_signals
from jobs.settings.load_config import load_config, wants_json
from jobs.settings.sent_config import forget_config


def start_embed(
    path: Path | None,
    options: Mapping[str, Any],
    base: Callable[[], Mapping[str, Any]] = dict,
) -> int:
    """Run `embed`, with its log in the form that is asked for.

    Args:
        path: YAML file of settings; None for none.
        options: by field name; None values were not given.
        base: gives settings that the file and the options win over.

    Returns:
        The exit code.

    Raises:
        UsageError, ModelError: nothing was started.
    """
    as_json = wants_json(path, options)
    with (
        json_log() if as_json else nullcontext(RunLog(console(sys.stderr))) as log,
        stop_signals() as stop,
    ):
        config = load_config(path, options, base())
        if path is not None:
            forget_config(path)
        from jobs.embed.run import run_embed  # imports torch, which takes seconds

        return run_embed(config, console(sys.stdout, quiet=as_json), log, stop)
