"""A few recordings, stored as one kind of source, for the contract suite of sources."""

import dataclasses
import io
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips import ClipRef
from pipeline.errors import ClipError
from pipeline.planning.plan import plan_shards
from pipeline.readers.shard_reader import shard_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.stream.clip_decoder import clip_reader
from tests.contracts.kinds import NAMES, Kind, make_samples
from tests.contracts.source_folders import SourceFolder

ALL = range(len(NAMES))


@dataclass
class Corpus:
    """The test's recordings, stored as one kind of source in a folder.

    Attributes:
        kind: The kind of source.
        folder: Folder, on disk or in a store, that holds the source.
        scratch: Local folder for temporary files.
        patch: Replaces standard input.
        written: Content of the stored files, by name.
    """

    kind: Kind
    folder: SourceFolder
    scratch: Path
    patch: pytest.MonkeyPatch
    written: dict[str, bytes] = field(default_factory=dict)

    def make_files(self, recordings):
        """Return the content of the files that store the recordings, by name."""
        return self.kind.make_files(self.scratch / str(len(os.listdir(self.scratch))), recordings)

    def write(self, recordings):
        """Store the recordings, over the files of earlier ones."""
        self.written = self.make_files(recordings)
        time.sleep(0.01)  # gives the new files another modification time
        for name, content in self.written.items():
            self.folder.put(name, content)

    def overwrite(self, name, content):
        time.sleep(0.01)
        self.folder.put(name, content)

    @property
    def source(self):
        if self.kind.source == "-":
            return "-"
        return f"{self.folder.root}/{self.kind.source}".rstrip("/")

    @property
    def stdin_text(self):
        """Text for standard input, if the source is read from there."""
        names = [name for name in self.written if self.kind.source == "-"]
        return "".join(f"{self.folder.root}/{name}\n" for name in names)

    def listing(self, *sources, **options):
        stdin = io.TextIOWrapper(io.BytesIO(self.stdin_text.encode()))
        self.patch.setattr(sys, "stdin", stdin)
        return list_sources(
            sources or (self.source,), SourceOptions(storage=self.folder.storage, **options)
        )

    def stream(self, listing):
        """Yield the recordings as a run reads them, with one clip each."""
        for shard in plan_shards(listing.clips, "spec", 100, listing.containers):
            for recording in shard_recordings(shard, self.folder.storage, listing.columns):
                for clip in recording.clips:
                    yield dataclasses.replace(recording, clips=(clip,))

    def read(self, listing):
        return {
            self.relative_name(each.clips[0]): decode_or_error(each)
            for each in self.stream(listing)
        }

    def relative_name(self, ref: ClipRef):
        """Return the name of a clip below the root."""
        assert ref.name.startswith(f"{self.folder.root}/")
        return ref.name.removeprefix(f"{self.folder.root}/")

    def versions(self):
        listing = self.listing()
        return {each.uri: each.version for each in (*listing.clips, *listing.containers)}

    def indices_in_file_of(self, i):
        """Return the indices of the recordings in the same file as recording `i`."""
        return [j for j in ALL if self.kind.file_names[j] == self.kind.file_names[i]]

    def assert_only_these_fail(self, outcomes, lost, error_class):
        """Check that exactly the recordings in `lost` fail, with messages that name the file.

        A container whose recordings are all lost gives a single error.
        """
        clip_names = self.kind.clip_names
        errors = {n: each for n, each in outcomes.items() if isinstance(each, ClipError)}
        assert {each.error_class for each in errors.values()} == {error_class}
        is_one = self.kind.is_container and lost == self.indices_in_file_of(lost[0])
        assert len(errors) == (1 if is_one else len(lost))
        for name, error in errors.items():
            assert f"{self.folder.root}/{name.partition(' ')[0]}" in error.message
            assert name.startswith(tuple(self.kind.file_names[i] for i in lost))
        kept = [i for i in ALL if i not in lost]
        assert outcomes.keys() - errors.keys() == {clip_names[i] for i in kept}
        for i in kept:
            np.testing.assert_array_equal(outcomes[clip_names[i]], expected_samples(i))


def decode_or_error(recording):
    """Decode a recording; return its samples, or the error."""
    try:
        return np.concatenate(list(clip_reader(recording).pieces()))
    except ClipError as error:
        return error


def expected_samples(i, seed=0):
    return make_samples(seed)[i].astype(np.float32) / 2**15


def flip_bit(content):
    """Return the content with a bit inverted in the middle, where every kind of file has audio."""
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
