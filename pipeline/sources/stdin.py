"""`-`: recordings named on standard input, one a line."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.manifests.manifest_text import as_utf8, is_utf16
from pipeline.sources.version_lookup import (
    ResolvedUri,
    look_up_versions,
    refuse_hidden_difference,
    resolve_uri,
)

STDIN = "-"


class StdinSource:
    """Paths and URIs on standard input; relative paths begin at the working folder.

    Args:
        locations: `-`.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        if strangers := [location for location in locations if location != STDIN]:
            raise UsageError(
                f"source {strangers[0]!r}: with source_format uris the source is {STDIN}, "
                "standard input; name a list of uris in a file as a manifest"
            )
        self._options = options

    def clips(self) -> Iterator[ClipRef]:
        """Every line that is not blank, once.

        Raises:
            UsageError: standard input is a terminal, or closed; or a line can be no name.
        """
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                f"source {STDIN!r} reads uris from standard input, which is a terminal or closed; "
                f"pipe them in, as in: find /corpus -name '*.wav' | passtream embed {STDIN} TABLE"
            )
        found = dict[str, str]()
        for here in self._located():
            before = ResolvedUri(here.uri, found.setdefault(here.uri, here.read_uri))
            where = "two lines of standard input"
            refuse_hidden_difference(before, here, self._options.query, where)
        versions, failures = look_up_versions(found, self._options.storage)
        return (
            ClipRef(uri, versions[uri], read_uri=found[uri], failure=failures.get(uri))
            for uri in found
        )

    def _located(self) -> Iterator[ResolvedUri]:
        folder = os.getcwd()
        for number, line in enumerate(_lines(sys.stdin.buffer.read()), 1):
            if line.strip():
                try:
                    yield resolve_uri(os.fsdecode(line), folder, self._options.query)
                except UsageError as error:
                    raise UsageError(f"standard input, line {number}: {error}") from error

    def containers(self) -> tuple[Container, ...]:
        """None: every line is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """None: lines say nothing of their recordings.

        Raises:
            UsageError: the options ask for some.
        """
        return self._options.no_columns(
            "lines on standard input have none to carry; name a manifest as the source"
        )

    def skipped(self) -> Counter[str]:
        """None: every line is a clip."""
        return Counter()

    def notes(self) -> list[str]:
        """Return no sentences: there is nothing to add to the counts."""
        return []


def _lines(content: bytes) -> list[bytes]:
    """The names on standard input; with a NUL between them where `find -print0` wrote them."""
    text = as_utf8("standard input", content)
    if b"\0" in text and not is_utf16(text):
        return text.split(b"\0")
    return [line.rstrip(b"\r") for line in text.split(b"\n")]
