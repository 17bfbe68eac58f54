"""Recognizes files of a passtream table inside a source, which are not recordings."""

import re
from collections.abc import Mapping

from pipeline.table_layout import META_DIR
from pipeline.wording import count

TABLE_KIND_PREFIX = "of the passtream table "
"""Start of the kind under which a table's files are counted; the table's folder follows."""
_TABLE_FILE = re.compile(
    rf"(?:(.*)/)?(?:{META_DIR}/.*|(?:clips|windows|timestamps|errors)/[0-9a-f]{{32}}\.parquet)",
    re.DOTALL,
)


def find_table_above(below: str) -> str | None:
    """Return the folder of the table that a file belongs to, by its path; None for no table.

    Args:
        below: Path of the file below the source, with `/`. The returned folder is relative to the
            source as well; it is `.` if the source itself is the table's folder.
    """
    found = _TABLE_FILE.fullmatch(below)
    return (found[1] or ".") if found else None


def table_notes(skipped: Mapping[str, int]) -> list[str]:
    """Return a sentence for each table whose files were left out.

    Args:
        skipped: Number of files that were left out, by kind.
    """
    return [
        f"left out {count(n_files, 'file')} of the passtream table "
        f"{kind.removeprefix(TABLE_KIND_PREFIX)!r}, which lies in the source (name its "
        "folder clips as a source to read its rows)"
        for kind, n_files in sorted(skipped.items())
        if kind.startswith(TABLE_KIND_PREFIX)
    ]
