"""What a reader takes of containers, and its count of what it passes over."""

import os
import sys
from collections import Counter
from dataclasses import dataclass, field

LINK_KIND = "symbolic links"
"""What symbolic links with an audio ending are counted as."""


@dataclass
class Intake:
    """Limits and counts of one shard's reading.

    Attributes:
        max_clip_bytes: Largest clip in bytes; a larger one never reaches the disk.
        passed_over: Members of tars that are neither clips nor carried, counted by ending.
    """

    max_clip_bytes: int = sys.maxsize
    passed_over: Counter[str] = field(default_factory=Counter)

    def pass_over(self, name: str, kind: str = "") -> None:
        """Count a member that is passed over.

        Args:
            name: Name of the member.
            kind: What to count it as; empty for the ending of its name.
        """
        ending = os.path.splitext(name.rpartition("/")[2])[1].lower()
        self.passed_over[kind or (ending if len(ending) <= _LONGEST_ENDING else "")] += 1
        if len(self.passed_over) > _MOST_KINDS:
            rarest = self.passed_over.most_common()[-1][0]
            self.passed_over["other"] += self.passed_over.pop(rarest)


_LONGEST_ENDING, _MOST_KINDS = 16, 100
"""Names come from strangers: no more than this is kept of them."""
