"""The config file that `passtream submit` sends, which may hold credentials.

Ray unpacks what a job brings in a folder that every user of a node can read, on each node that runs
a part of the job, and leaves it there. So the file can be read by its owner alone, and whichever
process of the job comes first removes it: the driver once it has read it, a worker at its start. A
file that a person has written is never removed: those of `submit` begin with a line of their own.
It differs in each job, as Ray would hand on the folder of an earlier one with the same content.
"""

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIG_NAME = "passtream.yaml"
_MARK = "# Sent by passtream submit; the job removes it. "


def write_config(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a job into the folder that is sent.

    Args:
        folder: Folder that becomes the working directory of the job.
        settings: Settings of `passtream embed`, as YAML holds them.
    """
    text = f"{_MARK}{secrets.token_hex(8)}\n{yaml.safe_dump(dict(settings), sort_keys=False)}"
    handle = os.open(folder / CONFIG_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def forget_config(path: Path = Path(CONFIG_NAME)) -> None:
    """Remove a config file that `submit` has sent; any other file stays.

    Args:
        path: Path of the file, relative to the working directory of the job.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with path.open() as file:
            is_sent = file.readline().startswith(_MARK)
        if is_sent:
            path.unlink()
