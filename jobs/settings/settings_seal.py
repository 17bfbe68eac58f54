"""Whether this user wrote the settings that a table keeps, told by a seal that only they can make.

`passtream retry TABLE` embeds what the table's settings name. A table that came from somebody else
may name anything, so its sources are shown first and need a yes. The seal is a keyed hash of the
settings; the key is a random file in the user's configuration folder, and never leaves it. A seal
that is copied to another table says no more than that its settings are this user's.
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
_SHOWN = 10


def seal_of(noted: Mapping[str, Any]) -> str:
    """Return the seal of settings; empty where this user can keep no key.

    Args:
        noted: Settings as a table keeps them, without a seal.
    """
    key = _key()
    content = json.dumps(noted, sort_keys=True).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest() if key else ""


def is_sealed(noted: Mapping[str, Any]) -> bool:
    """Return whether this user wrote settings that a table keeps.

    Args:
        noted: Content of the table's note: the settings, what was withheld, and the seal.
    """
    seal = seal_of({name: value for name, value in noted.items() if name != "seal"})
    found = noted.get("seal")
    if not (seal and isinstance(found, str)):
        return False
    return hmac.compare_digest(seal.encode(), found.encode(errors="replace"))


def ask_for_settings_of_others(table: str, settings: Mapping[str, Any], is_agreed: bool) -> None:
    """Show the sources that the settings of another user's table name, and ask whether to go on.

    Args:
        table: Location of the table.
        settings: Settings that the table keeps.
        is_agreed: Whether the user has said yes already, by `--yes`.

    Raises:
        UsageError: The user says no, or cannot be asked.
    """
    what = (
        f"table {table}: its settings were not written by you on this machine, so look at what "
        "they name before it is embedded"
    )
    named = _named(settings)
    if not is_agreed and not sys.stdin.isatty():
        raise UsageError(f"{what}: {', '.join(named)}; --yes agrees")
    print(f"passtream: {escape_control(what)}:", file=sys.stderr)
    for each in named:
        print(f"  {each}", file=sys.stderr)
    if not is_agreed and not typer.confirm("Embed them?", err=True):
        raise UsageError(f"table {table}: not confirmed, so nothing was started")


def _named(settings: Mapping[str, Any]) -> list[str]:
    """Sources and checkpoints that settings name; of many, the first ones."""
    sources = settings.get("sources")
    found = [str(each) for each in sources] if isinstance(sources, list) else [str(sources)]
    shown = found[:_SHOWN]
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN:,} more sources")
    weights = str(settings.get("weights", "auto"))
    if not weights.startswith(("auto", "random:")):
        shown.append(f"weights {weights}")
    return [escape_control(each) for each in shown]


def _key() -> bytes:
    """This user's key, made where there is none; empty where it cannot be kept or read."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = Path(home) / "passtream" / "settings.key"
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path)
        status = path.stat()
        is_ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
        key = path.read_bytes() if is_ours else b""
        return key if len(key) == _KEY_BYTES else b""
    return b""


def _create(path: Path) -> None:
    """Create the file of a key, whole, where there is none."""
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
