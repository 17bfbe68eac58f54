"""The limits of reading a container, and the counts of skipped members."""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.printable import escape_control
from pipeline.wording import count

LINK_KIND = "symbolic links"
"""Name under which symbolic links with an audio ending are counted."""
# Names come from strangers, so the length and number that are kept have a limit.
_LONGEST_ENDING, _MOST_KINDS = 16, 100


@dataclass
class Intake:
    """Limits and counts for reading one shard.

    Attributes:
        max_clip_bytes: Largest clip in bytes; a larger one is never written to disk.
        passed_over: Members of tars that are neither clips nor carried, counted by ending.
    """

    max_clip_bytes: int = sys.maxsize
    passed_over: Counter[str] = field(default_factory=Counter)

    def pass_over(self, name: str, kind: str = "") -> None:
        """Count a member that is skipped.

        Args:
            name: Name of the member.
            kind: Name to count it under; empty for the ending of its name.
        """
        ending = os.path.splitext(name.rpartition("/")[2])[1].lower()
        self.passed_over[kind or (ending if len(ending) <= _LONGEST_ENDING else "")] += 1
        if len(self.passed_over) > _MOST_KINDS:
            rarest = self.passed_over.most_common()[-1][0]
            self.passed_over["other"] += self.passed_over.pop(rarest)


def passed_over_text(passed_over: Mapping[str, float], n_shown: int = 5) -> str:
    """Describe the skipped members: `12 members of tars that are no recordings: .data 10, .md 2`.

    Args:
        passed_over: Members that are no clips, counted by ending; not empty.
        n_shown: Largest number of endings that are named.
    """
    kinds = Counter(dict(passed_over)).most_common()
    shown = [f"{escape_control(kind) or 'no ending'} {n:,.0f}" for kind, n in kinds[:n_shown]]
    if n_more := sum(n for _, n in kinds[n_shown:]):
        shown.append(f"others {n_more:,.0f}")
    members = count(sum(passed_over.values()), "member")
    verb = "is no recording" if members.startswith("1 ") else "are no recordings"
    return f"{members} of tars that {verb}: {', '.join(shown)}"
