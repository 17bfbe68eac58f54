"""Folders in which operating systems keep what they deleted or know about a disk."""

import re

# fmt: off
_NAMES = (
    "__MACOSX", ".Trashes", ".Trash", ".Spotlight-V100", ".fseventsd", ".TemporaryItems",
    ".DocumentRevisions-V100", ".AppleDouble", "$RECYCLE.BIN", "System Volume Information",
    "@eaDir", "#recycle",
)
# fmt: on
_BELOW_ONE = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, _NAMES))}|\.Trash-\d+)(?=/|$)")


def system_folder(folder: str) -> str:
    """Return the name of the system folder that a path leads into; empty for none.

    Args:
        folder: Path of a folder below a source, with `/`.
    """
    found = _BELOW_ONE.search(folder)
    return found[1] if found else ""
