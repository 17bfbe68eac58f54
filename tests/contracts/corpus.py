"""The same few recordings as one kind of source, somewhere, for the contract suite of sources."""

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
from tests.contracts.kinds import NAMES, Kind, sounds
from tests.contracts.places import SourceFolder

ALL = range(len(NAMES))


@dataclass
class Corpus:
    """The recordings as one kind of source, somewhere."""

    kind: Kind
    place: SourceFolder
    scratch: Path
    patch: pytest.MonkeyPatch
    written: dict[str, bytes] = field(default_factory=dict)

    def files(self, recordings):
        """What stores them, by name."""
        return self.kind.files(self.scratch / str(len(os.listdir(self.scratch))), recordings)

    def write(self, recordings):
        """Store them, in place of others."""
        self.written = self.files(recordings)
        time.sleep(0.01)  # file systems' clocks tick
        for name, content in self.written.items():
            self.place.put(name, content)

    def overwrite(self, name, content):
        time.sleep(0.01)
        self.place.put(name, content)

    @property
    def source(self):
        if self.kind.source == "-":
            return "-"
        return f"{self.place.root}/{self.kind.source}".rstrip("/")

    @property
    def lines(self):
        """What a person pipes in."""
        names = [name for name in self.written if self.kind.source == "-"]
        return "".join(f"{self.place.root}/{name}\n" for name in names)

    def listing(self, *sources, **options):
        stdin = io.TextIOWrapper(io.BytesIO(self.lines.encode()))
        self.patch.setattr(sys, "stdin", stdin)
        return list_sources(
            sources or (self.source,), SourceOptions(storage=self.place.storage, **options)
        )

    def stream(self, listing):
        """The recordings, as a run goes through them."""
        for shard in plan_shards(listing.clips, "spec", 100, listing.containers):
            for recording in shard_recordings(shard, self.place.storage, listing.columns):
                for clip in recording.clips:
                    yield dataclasses.replace(recording, clips=(clip,))

    def read(self, listing):
        return {self.below(each.clips[0]): decoded(each) for each in self.stream(listing)}

    def below(self, ref: ClipRef):
        """Its name below the root."""
        assert ref.name.startswith(f"{self.place.root}/")
        return ref.name.removeprefix(f"{self.place.root}/")

    def versions(self):
        listing = self.listing()
        return {each.uri: each.version for each in (*listing.clips, *listing.containers)}

    def in_file_of(self, i):
        """Which recordings lie in one file with this one."""
        return [j for j in ALL if self.kind.holders[j] == self.kind.holders[i]]

    def assert_only_lost(self, outcomes, lost, error_class):
        """These are errors, a container's one, that name their file; the others are as put."""
        found = self.kind.found
        errors = {n: each for n, each in outcomes.items() if isinstance(each, ClipError)}
        assert {each.error_class for each in errors.values()} == {error_class}
        is_one = self.kind.is_container and lost == self.in_file_of(lost[0])
        assert len(errors) == (1 if is_one else len(lost))
        for name, error in errors.items():
            assert f"{self.place.root}/{name.partition(' ')[0]}" in error.message
            assert name.startswith(tuple(self.kind.holders[i] for i in lost))
        kept = [i for i in ALL if i not in lost]
        assert outcomes.keys() - errors.keys() == {found[i] for i in kept}
        for i in kept:
            np.testing.assert_array_equal(outcomes[found[i]], as_put(i))


def decoded(recording):
    """Samples, or the error."""
    try:
        return np.concatenate(list(clip_reader(recording).pieces()))
    except ClipError as error:
        return error


def as_put(i, seed=0):
    return sounds(seed)[i].astype(np.float32) / 2**15


def flipped(content):
    """The same size, and another byte in the middle, which is audio wherever there is any."""
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
