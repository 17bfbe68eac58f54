"""What a reader takes of containers, and its count of what it passes over."""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.printable import escape_control
from pipeline.wording import count

LINK_KIND = "symbolic links"
"""What symbolic links with an audio ending are counted as."""
# Names come from strangers: no more than this is kept of them.
_LONGEST_ENDING, _MOST_KINDS = 16, 100


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


def passed_over_text(passed_over: Mapping[str, float], n_shown: int = 5) -> str:
    """Return what was passed over: `12 members of tars that are no recordings: .data 10, .md 2`.

    Args:
        passed_over: Members that are no clips, counted by ending; not empty.
        n_shown: Most endings that are named.
    """
    kinds = Counter(dict(passed_over)).most_common()
    shown = [f"{escape_control(kind) or 'no ending'} {n:,.0f}" for kind, n in kinds[:n_shown]]
    if n_more := sum(n for _, n in kinds[n_shown:]):
        shown.append(f"others {n_more:,.0f}")
    members = count(sum(passed_over.values()), "member")
    verb = "is no recording" if members.startswith("1 ") else "are no recordings"
    return f"{members} of tars that {verb}: {', '.join(shown)}"
