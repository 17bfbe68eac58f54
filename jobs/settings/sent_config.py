"""The config file that `passtream submit` sends, which may hold credentials.

On each node that runs a part of the job, Ray unpacks the job's files into a folder that every user
of the node can read, and leaves them there. So only the owner can read the file, and the first
process of the job on a node removes it: the driver after reading it, a worker at its start. The
first line of the file marks it as sent by `submit`; a file that a user wrote is never removed.
That line also contains a random token, because Ray reuses the folder of an earlier job with the
same content.
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
    """Write the settings of a job into the folder that `submit` sends.

    Args:
        folder: Folder that becomes the working directory of the job.
        settings: Settings of `passtream embed`, as values that YAML can represent.
    """
    text = f"{_MARK}{secrets.token_hex(8)}\n{yaml.safe_dump(dict(settings), sort_keys=False)}"
    handle = os.open(folder / CONFIG_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def remove_sent_config(path: Path = Path(CONFIG_NAME)) -> None:
    """Remove a config file that `submit` has sent; keep any other file.

    Args:
        path: Path of the file, relative to the working directory of the job.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with path.open() as file:
            is_sent = file.readline().startswith(_MARK)
        if is_sent:
            path.unlink()
