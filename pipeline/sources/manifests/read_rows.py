"""Reads the rows of a manifest with the reader that belongs to the ending of its name."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pipeline.sources.manifests.column_names import has_uri_column
from pipeline.sources.manifests.delimited_rows import read_delimited_rows, read_first_line
from pipeline.sources.manifests.delimiters import COMMA, TAB, find_delimiter, split_header
from pipeline.sources.manifests.json_rows import read_json_rows, read_jsonl_rows
from pipeline.sources.manifests.manifest_rows import ManifestRows, RowValues
from pipeline.sources.manifests.manifest_text import decompress, to_utf8
from pipeline.sources.manifests.parquet_rows import read_parquet_rows
from pipeline.sources.manifests.path_lists import read_path_lines

_GZIP_ENDING = ".gz"
_GZIP_MAGIC = b"\x1f\x8b"


def manifest_ending(name: str) -> str:
    """Return the ending that selects a manifest's reader: `.csv` for `m.csv` and `m.csv.gz`.

    Args:
        name: Path or URI, without the query of a URL.

    Returns:
        One of the keys of `READERS`; empty if the name is not that of a manifest.
    """
    path, ending = os.path.splitext(name.lower())
    if ending == _GZIP_ENDING:
        ending = os.path.splitext(path)[1]
        return ending if ending in READERS and ending != ".parquet" else ""
    return ending if ending in READERS else ""


def read_rows(name: str, ending: str, content: bytes) -> ManifestRows:
    """Read a manifest.

    Args:
        name: Path or URI of the manifest as messages show it.
        ending: Ending of the name, as `manifest_ending` returns it.
        content: Bytes of the file, which may be compressed with gzip.

    Raises:
        UsageError: The content does not have the format of the ending. Some errors are raised only
            when the rows are read.
    """
    if ending == ".parquet":
        return read_parquet_rows(name, content)
    if content.startswith(_GZIP_MAGIC):
        content = decompress(name, content)
    return READERS[ending](name, to_utf8(f"manifest {name!r}", content))


def _read_text_rows(name: str, content: bytes, ending: str) -> ManifestRows:
    """Read a text file that is a list of paths, unless its first line is JSON or a table's header.

    Args:
        name: Path or URI of the manifest.
        content: Content of the manifest, in UTF-8.
        ending: Ending of the name.

    Raises:
        UsageError: The first line is not UTF-8, or the JSON or the header is damaged.
    """
    first_line = read_first_line(name, content)
    if first_line.lstrip().startswith("{"):
        return read_jsonl_rows(name, content)
    if has_uri_column(split_header(first_line, find_delimiter(first_line, TAB))):
        return read_delimited_rows(name, content, TAB)

    def read(columns: Sequence[str]) -> Iterator[tuple[int, RowValues]]:
        for number, line in read_path_lines(name, ending, content):
            yield number, tuple(line if column == "uri" else None for column in columns)

    return ManifestRows(name, "line", ("uri",), read)


READERS: dict[str, Callable[[str, bytes], ManifestRows]] = {
    ".csv": partial(read_delimited_rows, default=COMMA),
    ".tsv": partial(read_delimited_rows, default=TAB),
    ".tab": partial(read_delimited_rows, default=TAB),
    ".jsonl": read_jsonl_rows,
    ".ndjson": read_jsonl_rows,
    ".json": read_json_rows,
    ".parquet": read_parquet_rows,
    **{
        ending: partial(_read_text_rows, ending=ending)
        for ending in (".txt", ".lst", ".list", ".m3u", ".m3u8")
    },
}
"""Reader of each kind of manifest, by the ending of its name without `.gz`."""
