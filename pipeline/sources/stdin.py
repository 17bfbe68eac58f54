"""`-`: recordings named on standard input, one a line."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.lookup import located, versions_of

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
            UsageError: standard input is a terminal, or closed.
        """
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                f"source {STDIN!r} reads uris from standard input, which is a terminal or closed; "
                f"pipe them in, as in: find /corpus -name '*.wav' | passtream embed {STDIN} TABLE"
            )
        folder = os.getcwd()
        lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
        found = dict(located(line, folder) for line in lines if line.strip())
        versions = versions_of(found, self._options.storage)
        return (ClipRef(uri, versions[uri], read_uri=found[uri]) for uri in found)

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
