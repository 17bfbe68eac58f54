"""Folders of recordings, on disk and in stores, for the contract suites of sources."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.io.storage import Storage
from pipeline.readers.clip_file import open_clip
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions

ANY_SIZE = 1 << 40


@dataclass
class SourceFolder:
    """A folder of recordings on disk or in a store.

    Attributes:
        root: Path or URI of the folder.
        storage: Storage that reaches the folder.
        put: Writes a file, given its name below the root and its content.
        delete: Deletes a file, given its name below the root.
    """

    root: str
    storage: Storage
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]

    def listing(self, *names, **options):
        sources = [f"{self.root}/{each}" if each else self.root for each in names or ("",)]
        return list_sources(sources, SourceOptions(storage=self.storage, **options))

    def list_names(self, *names, **options):
        """Return the paths of the listed files below the root."""
        clips = self.listing(*names, **options).clips
        assert all(clip.uri.startswith(f"{self.root}/") for clip in clips)
        return [clip.uri.removeprefix(f"{self.root}/") for clip in clips]

    def clip(self, name):
        (clip,) = [c for c in self.listing().clips if c.uri == f"{self.root}/{name}"]
        return clip

    def read(self, ref):
        with open_clip(ref, self.storage, ANY_SIZE) as file:
            return file.read()


def local_folder(folder: Path) -> SourceFolder:
    def put(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return SourceFolder(str(folder), Storage(), put, lambda name: (folder / name).unlink())


def remote_folder(root: str, storage: Storage) -> SourceFolder:
    files = storage.filesystem(root)
    return SourceFolder(
        root,
        storage,
        lambda name, content: files.pipe_file(f"{root}/{name}", content),
        lambda name: files.rm_file(f"{root}/{name}"),
    )
