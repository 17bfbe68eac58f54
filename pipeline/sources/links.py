"""Links that leave a source: a folder of a stranger must not name other files of this machine."""

import os
from collections.abc import Iterable

LEAVING = "links out of the source (--follow-links takes them)"
"""What such links are counted as among the files that are passed over."""


class Boundary:
    """The folders that links may lead to.

    Args:
        roots: Folders that a person named.
        follow: Whether links may lead anywhere.
    """

    def __init__(self, roots: Iterable[str], follow: bool) -> None:
        self._roots = {os.path.realpath(root) for root in roots}
        self._prefixes = tuple(os.path.join(root, "") for root in self._roots)
        self._follow = follow
        self._folders: dict[str, bool] = {}

    def lets_through(self, link: str) -> bool:
        """Return whether a link leads to a place within the roots, or may lead anywhere."""
        if self._follow:
            return True
        real = os.path.realpath(link)
        return real in self._roots or real.startswith(self._prefixes)

    def lets_match(self, path: str) -> bool:
        """Return whether a path that a glob matched lies within the roots, links resolved."""
        if self._follow:
            return True
        folder = os.path.dirname(path)
        if folder not in self._folders:  # once per folder: a path has many parts
            self._folders[folder] = self.lets_through(folder or ".")
        return self._folders[folder] and (not os.path.islink(path) or self.lets_through(path))
