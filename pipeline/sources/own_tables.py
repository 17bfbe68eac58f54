"""Files of a passtream table that lies inside a source: neither recordings nor containers."""

import re
from collections.abc import Mapping

from pipeline.table_layout import META_DIR
from pipeline.wording import count

KIND = "of the passtream table "
"""How the kinds begin under which files of tables are counted; the table's folder follows."""
_OWN = re.compile(
    rf"(?:(.*)/)?(?:{META_DIR}/.*|(?:clips|windows|timestamps|errors)/[0-9a-f]{{32}}\.parquet)",
    re.DOTALL,
)


def table_above(below: str) -> str | None:
    """Return the folder of the table that a file belongs to by its name; None for no table.

    Args:
        below: Path of the file below the source, with `/`.
    """
    found = _OWN.fullmatch(below)
    return (found[1] or ".") if found else None


def table_notes(skipped: Mapping[str, int]) -> list[str]:
    """Return a sentence for each table whose files were left out.

    Args:
        skipped: Files passed over, by kind.
    """
    return [
        f"left out {count(n_files, 'file')} of the passtream table {kind.removeprefix(KIND)!r}, "
        "which lies in the source (name its folder clips itself to take them)"
        for kind, n_files in sorted(skipped.items())
        if kind.startswith(KIND)
    ]
