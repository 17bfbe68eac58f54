"""Reads text lists (`.txt`, `.lst`, `.list`, `.m3u`) with one path or URI per line."""

import io
import os
from collections.abc import Iterator

from pipeline.audio import AUDIO_ENDINGS
from pipeline.errors import UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.protocols import is_remote, is_uri
from pipeline.sources.manifests.manifest_text import is_text, not_utf8_message

_PLAYLISTS = (".m3u", ".m3u8")


def read_path_lines(name: str, ending: str, content: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that names a recording, with its number from 1.

    Blank lines and the comments of playlists are ignored.

    Args:
        name: Path or URI of the list.
        ending: Ending of the list's name, as `.txt`.
        content: Content of the list, in UTF-8 except for names of local files.

    Raises:
        UsageError: A line names no recording, is not UTF-8, or belongs to an HLS playlist.
    """
    folder = "" if is_remote(name) else os.path.dirname(os.path.abspath(local_path(name)))
    for number, raw in enumerate(io.BytesIO(content), 1):
        where = f"manifest {name!r}, line {number}"
        line = os.fsdecode(raw).strip("\r\n")  # names of local files may hold any bytes
        if not line.isascii() and not is_text(line) and not _is_file(folder, line):
            raise UsageError(not_utf8_message(where, raw))
        if ending in _PLAYLISTS and line.startswith("#"):
            if line.startswith("#EXT-X-"):
                raise UsageError(
                    f"{where}: belongs to a playlist of a stream (HLS), whose files are parts of "
                    "one recording; save the stream to a file"
                )
            continue
        line = line.strip()
        if not line:
            continue
        if not _names_recording(folder, line):
            raise UsageError(
                f"{where}: {line[:80]!r} is neither a URI nor a file with an audio ending; a list "
                "has one path per line; a table starts with a line of column names, uri among "
                "them; if this file is itself a recording, add --source-format files"
            )
        yield number, line


def _names_recording(folder: str, line: str) -> bool:
    if is_uri(line) or (line.lower().endswith(AUDIO_ENDINGS) and "\t" not in line):
        return True
    return _is_file(folder, line)


def _is_file(folder: str, line: str) -> bool:
    return bool(folder) and "\0" not in line and os.path.isfile(os.path.join(folder, line))
