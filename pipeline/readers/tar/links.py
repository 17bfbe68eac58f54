"""Hard links in tars: clips with the bytes of an earlier member.

A tar holds the bytes once and may be compressed, so a reader cannot go back to them. Links are
collected, and at the end the tar is read a second time, up to the last member that a link points
to, with one member in memory at a time. A tar without links is read once.
"""

import hashlib
import itertools
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import ClipError
from pipeline.readers.tar.members import Member

MOST_BYTES = 64 << 20
"""Largest number of bytes of names and carried texts of links that are kept in memory."""
_BYTES_OF_ONE = 200


class Names:
    """Names of the clips of one tar, each told apart from earlier ones of the same name.

    Names are kept as digests, because a stranger's names may be long.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}
        self._last: dict[bytes, int] = {}

    def new(self, name: str) -> str:
        """Return the name for a clip: the member's own, or `name#2`, `name#3` and so on."""
        digest = _digest(name)
        if digest not in self._seen:
            self._seen[digest] = 1
            return name
        self._seen[digest] += 1
        n = self._last.get(digest, 1) + 1
        while _digest(f"{name}#{n}") in self._seen:
            n += 1
        self._last[digest] = n
        self._seen[_digest(f"{name}#{n}")] = 1
        return f"{name}#{n}"

    def count(self, name: str) -> int:
        """Return the number of clips of this name so far, however its path is spelt."""
        plain = _plain(name)
        return sum(self._seen.get(_digest(each), 0) for each in {name, plain, f"./{plain}"})


@dataclass(frozen=True)
class Link:
    """A hard link with an audio ending.

    Attributes:
        name: Name of the clip.
        target: Name of the member that the link stands for.
        index: Number of members before the link.
        carried: Values of the carried columns.
    """

    name: str
    target: str
    index: int
    carried: tuple[str | None, ...] = ()


class HardLinks:
    """The hard links of one tar.

    Args:
        names: Names of the tar's clips.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._wanted: defaultdict[tuple[str, int], list[Link]] = defaultdict(list)
        self._places: dict[str, tuple[str, int]] = {}
        self._dangling: list[Link] = []
        self._n_bytes = 0

    def add(self, member: Member, carried: tuple[str | None, ...] = ()) -> None:
        """Add a link.

        Args:
            member: Member that is a hard link.
            carried: Values of the carried columns.

        Raises:
            ValueError: There are more links than are kept in memory.
        """
        name, target = member.name, member.target
        self._n_bytes += _BYTES_OF_ONE + len(name) + len(target)
        self._n_bytes += sum(len(text) for text in carried if text)
        if self._n_bytes > MOST_BYTES:
            raise ValueError("there are too many hard links")
        plain = _plain(target)
        # A link to a link points to the same member as that link.
        place = self._places.get(plain) or (plain, max(1, self._names.count(target)))
        self._places[_plain(name)] = place
        self._wanted[place].append(Link(self._names.new(name), target, member.index, carried))

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def found_in(self, members: Iterable[Member]) -> Iterator[tuple[Member, list[Link]]]:
        """Yield the members that links point to, each with its links.

        Args:
            members: All members of the tar, from its start.
        """
        counts = Counter[str]()
        targets = {name for name, _ in self._wanted}
        for member in members:
            plain = _plain(member.name)
            if member.target or plain not in targets:
                continue
            counts[plain] += 1
            links = self._wanted.pop((plain, counts[plain]), [])
            if later := [link for link in links if link.index > member.index]:
                yield member, later
            self._dangling += [link for link in links if link.index < member.index]
            if not self._wanted:
                return

    def dangling(self) -> Iterator[tuple[Link, ClipError]]:
        """Yield the links that point to no member, each with its error."""
        for link in itertools.chain(self._dangling, *self._wanted.values()):
            what = (
                f"{link.name}: is a hard link to {link.target!r}, which no earlier member of the "
                "tar is; make the tar again, with that file in front of its links"
            )
            yield link, ClipError("read", "missing", what)


def _plain(name: str) -> str:
    return posixpath.normpath(name)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
