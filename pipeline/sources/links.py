"""Recognizes symbolic links that lead out of a source.

A folder that comes from a third party must not make a run read other files of this machine.
"""

import os
from collections.abc import Iterable

LEAVING_LINKS = "links out of the source (--follow-links takes them)"
"""Kind under which links that lead out of the source are counted."""


class Boundary:
    """The folders that symbolic links may lead to.

    Args:
        roots: Folders that the user named.
        follow: Whether links may lead anywhere.
    """

    def __init__(self, roots: Iterable[str], follow: bool) -> None:
        self._roots = {os.path.realpath(root) for root in roots}
        self._prefixes = tuple(os.path.join(root, "") for root in self._roots)
        self._follow = follow
        self._folders: dict[str, bool] = {}

    def allows_link(self, link: str) -> bool:
        """Return whether a link may be followed: it leads into a root, or may lead anywhere."""
        if self._follow:
            return True
        real = os.path.realpath(link)
        return real in self._roots or real.startswith(self._prefixes)

    def allows_match(self, path: str) -> bool:
        """Return whether a path that a glob matched may be read.

        With its links resolved, the path must lie within the roots, unless links may lead anywhere.
        """
        if self._follow:
            return True
        folder = os.path.dirname(path)
        if folder not in self._folders:  # resolving a path takes one system call per part of it
            self._folders[folder] = self.allows_link(folder or ".")
        return self._folders[folder] and (not os.path.islink(path) or self.allows_link(path))
