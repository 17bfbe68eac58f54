"""Lists of recordings in text, one path or URI per line: `.txt`, `.lst`, `.list`, `.m3u`."""

import io
import os
from collections.abc import Callable, Iterator

from pipeline.audio import AUDIO_ENDINGS
from pipeline.errors import UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.storage import is_remote, is_uri
from pipeline.sources.manifests.manifest_text import is_text, not_utf8

_PLAYLISTS = (".m3u", ".m3u8")


def lines_of(name: str, ending: str, content: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list that name a recording, numbered from 1.

    Args:
        name: Name of the list, for messages.
        ending: Ending of its name.
        content: Its text in UTF-8.

    Raises:
        UsageError: A line names no recording.
    """
    folder = "" if is_remote(name) else os.path.dirname(os.path.abspath(local_path(name)))
    names_one = _names_one(folder)
    for number, raw in enumerate(io.BytesIO(content), 1):
        where = f"manifest {name!r}, line {number}"
        line = os.fsdecode(raw).strip("\r\n")  # names of local files may be of any bytes
        if not line.isascii() and not is_text(line) and not _is_file(folder, line):
            raise UsageError(not_utf8(where, raw))
        if ending in _PLAYLISTS and line.startswith("#"):
            if line.startswith("#EXT-X-"):
                raise UsageError(
                    f"{where}: is a playlist of a stream (HLS), whose files are parts of one "
                    "recording; save the stream to a file"
                )
            continue
        line = line.strip()
        if not line:
            continue
        if not names_one(line):
            raise UsageError(
                f"{where}: {line[:80]!r} is neither a URI nor a file with an ending of audio; a "
                "list has one path per line; a table has a first line with the names of its "
                "columns, uri among them; for a recording add --source-format files"
            )
        yield number, line


def _names_one(folder: str) -> Callable[[str], bool]:
    def names_one(line: str) -> bool:
        path = line.partition("?")[0] if is_uri(line) else line
        if is_uri(line) or (path.lower().endswith(AUDIO_ENDINGS) and "\t" not in path):
            return True
        return _is_file(folder, line)

    return names_one


def _is_file(folder: str, line: str) -> bool:
    return bool(folder) and "\0" not in line and os.path.isfile(os.path.join(folder, line))
