"""The `uris` format: the source `-`, standard input with one path or URI per line."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.manifests.manifest_text import is_utf16, to_utf8
from pipeline.sources.version_lookup import (
    ResolvedUri,
    look_up_versions,
    refuse_hidden_difference,
    resolve_uri,
)

STDIN = "-"
"""Name of standard input as a source."""


class StdinSource:
    """A source of recordings that are named on standard input.

    Relative paths begin at the working directory.

    Args:
        locations: The sources of this format; each must be `-`.
        options: Options for all sources.

    Raises:
        UsageError: A location is not `-`.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        if others := [location for location in locations if location != STDIN]:
            raise UsageError(
                f"source {others[0]!r}: with source_format uris the source is {STDIN}, "
                "standard input; name a list of uris in a file as a manifest"
            )
        self._options = options

    def clips(self) -> Iterator[ClipRef]:
        """Return a clip for each recording that a line names.

        Blank lines are ignored, and a recording that several lines name is a single clip.

        Raises:
            UsageError: Standard input is a terminal or closed, or a line cannot be a path or a URI.
            StoreError: A store is unavailable, or no HTTP host answers.
        """
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                f"source {STDIN!r} reads uris from standard input, which is a terminal or closed; "
                f"pipe them in, as in: find /corpus -name '*.wav' | passtream embed {STDIN} TABLE"
            )
        found = dict[str, str]()
        for resolved in self._resolve_lines():
            first = ResolvedUri(resolved.uri, found.setdefault(resolved.uri, resolved.read_uri))
            where = "two lines of standard input"
            refuse_hidden_difference(first, resolved, self._options.query, where)
        versions, failures = look_up_versions(found, self._options.storage)
        return (
            ClipRef(uri, versions[uri], read_uri=found[uri], failure=failures.get(uri))
            for uri in found
        )

    def _resolve_lines(self) -> Iterator[ResolvedUri]:
        folder = os.getcwd()
        for number, line in enumerate(_split_lines(sys.stdin.buffer.read()), 1):
            if line.strip():
                try:
                    yield resolve_uri(os.fsdecode(line), folder, self._options.query)
                except UsageError as error:
                    raise UsageError(f"standard input, line {number}: {error}") from error

    def containers(self) -> tuple[Container, ...]:
        """Return no containers: every line is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Return no columns: lines hold nothing but names.

        Raises:
            UsageError: The options ask for columns.
        """
        return self._options.no_columns(
            "lines on standard input have none to carry; name a manifest as the source"
        )

    def skipped(self) -> Counter[str]:
        """Return no counts: no line is left out."""
        return Counter()

    def notes(self) -> list[str]:
        """Return no notes: there is nothing to say about the lines."""
        return []


def _split_lines(content: bytes) -> list[bytes]:
    """Split standard input into names, at NULs if it has any (as from `find -print0`)."""
    text = to_utf8("standard input", content)
    if b"\0" in text and not is_utf16(text):
        return text.split(b"\0")
    return [line.rstrip(b"\r") for line in text.split(b"\n")]
