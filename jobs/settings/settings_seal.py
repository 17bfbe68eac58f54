"""A seal that shows whether this user wrote the settings saved in a table.

`passtream retry TABLE` embeds the sources that the table's settings name. A table of another user
may name anything, so its sources are shown first and the user must confirm them. The seal is a
keyed hash of the settings. The key is a random file in the user's configuration folder and never
leaves it. A seal copied to another table proves only that this user wrote those settings.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from pipeline.errors import UsageError
from pipeline.printable import escape_control

_KEY_BYTES = 32
_MAX_SOURCES_SHOWN = 10


def seal_of(note: Mapping[str, Any]) -> str:
    """Return the seal of settings, in hexadecimal; empty if this user cannot keep a key.

    Args:
        note: Content of the table's settings file, without a seal.
    """
    key = _load_or_create_key()
    content = json.dumps(note, sort_keys=True).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest() if key else ""


def is_sealed(note: Mapping[str, Any]) -> bool:
    """Return whether this user wrote the settings saved in a table.

    Args:
        note: Content of the table's settings file: the settings, the names of the settings that
            were not saved, and the seal.
    """
    seal = seal_of({name: value for name, value in note.items() if name != "seal"})
    found = note.get("seal")
    if not (seal and isinstance(found, str)):
        return False
    return hmac.compare_digest(seal.encode(), found.encode(errors="replace"))


def confirm_foreign_settings(table: str, settings: Mapping[str, Any], is_agreed: bool) -> None:
    """Show the sources that another user's settings name, and ask whether to embed them.

    Args:
        table: Location of the table.
        settings: Settings saved in the table.
        is_agreed: Whether the user has agreed already, with `--yes`.

    Raises:
        UsageError: The user says no, or cannot be asked because standard input is not a terminal.
    """
    warning = (
        f"table {table}: its settings were not written by you on this machine, so check what they "
        "name before it is embedded"
    )
    locations = _shown_locations(settings)
    if not is_agreed and not sys.stdin.isatty():
        raise UsageError(f"{warning}: {', '.join(locations)}; --yes agrees")
    print(f"passtream: {escape_control(warning)}:", file=sys.stderr)
    for location in locations:
        print(f"  {location}", file=sys.stderr)
    if not is_agreed and not typer.confirm("Embed them?", err=True):
        raise UsageError(f"table {table}: not confirmed, so nothing was started")


def _shown_locations(settings: Mapping[str, Any]) -> list[str]:
    """Return the first few sources that settings name, and the checkpoints, as printable text."""
    sources = settings.get("sources")
    found = [str(each) for each in sources] if isinstance(sources, list) else [str(sources)]
    shown = found[:_MAX_SOURCES_SHOWN]
    if len(found) > _MAX_SOURCES_SHOWN:
        shown.append(f"and {len(found) - _MAX_SOURCES_SHOWN:,} more sources")
    weights = str(settings.get("weights", "auto"))
    if not weights.startswith(("auto", "random:")):
        shown.append(f"weights {weights}")
    return [escape_control(each) for each in shown]


def _load_or_create_key() -> bytes:
    """Return this user's key, and create it if there is none.

    The key is empty if it cannot be written or read, or if other users can read it.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = Path(home) / "passtream" / "settings.key"
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_key(path)
        status = path.stat()
        is_ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        key = path.read_bytes() if is_ours else b""
        return key if len(key) == _KEY_BYTES else b""
    return b""


def _create_key(path: Path) -> None:
    """Create the file of a key atomically, unless it exists."""
    if path.exists():
        return
    temp = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        os.link(temp, path)
    finally:
        temp.unlink()
