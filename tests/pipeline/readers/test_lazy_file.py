"""`lazy_file`: headers are read without a descriptor, in blocks; failures are heard."""

import pytest
import soundfile

from pipeline.decode.probe import probe_audio
from pipeline.errors import CannotDecodeError, ClipError, StoreError
from pipeline.readers import lazy_file
from pipeline.readers.lazy_file import BLOCK_BYTES, Blocks, open_clip_lazily, open_lazily
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.mixed_corpus import write_mixed
from tests.support import tone


def test_headers_are_the_same_as_of_a_local_file(tmp_path):
    folder = write_mixed(tmp_path / "corpus")
    for path in sorted(path for path in folder.rglob("*") if path.stat().st_size):
        if path.is_dir():
            continue
        content = path.read_bytes()

        def look(file):
            try:
                return probe_audio(file)
            except CannotDecodeError as error:
                return error.error_class

        with open(path, "rb") as file:
            expected = look(file)
        blocks = Blocks(len(content), lambda start, end, content=content: content[start:end])
        with open_lazily(len(content), blocks.range) as head:
            assert look(head) == expected, path


def test_blocks_are_fetched_once_and_any_range_is_right():
    content = bytes(i % 251 for i in range(5 * BLOCK_BYTES + 17))
    fetched = []

    def fetch(start, end):
        fetched.append((start, end))
        return content[start:end]

    blocks = Blocks(len(content), fetch)
    for start, end in (
        (0, 4),
        (BLOCK_BYTES - 1, BLOCK_BYTES + 1),
        (10, 3 * BLOCK_BYTES),
        (len(content) - 20, len(content)),
        (0, len(content)),
    ):
        assert blocks.range(start, end) == content[start:end]
    assert fetched[0] == (0, BLOCK_BYTES)
    assert fetched[1] == (BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert fetched[2] == (2 * BLOCK_BYTES, 3 * BLOCK_BYTES)


@pytest.mark.parametrize("failure", [ClipError("read", "missing", "gone"), StoreError("down")])
def test_a_failure_below_a_decoder_is_raised(failure):
    def fetch(start, end):
        raise failure

    with pytest.raises(type(failure), match=str(failure)), open_lazily(1000, fetch) as file:
        probe_audio(file)


def test_of_a_large_recording_in_a_store_little_is_read(moto, tmp_path, monkeypatch):
    bucket, storage = moto.new_bucket(), moto.storage()
    for ending in ("wav", "flac", "ogg"):
        path = tmp_path / f"a.{ending}"
        with soundfile.SoundFile(path, "w", 44_100, 1) as file:
            for second in range(120):  # all of it at once is too much for its Vorbis
                file.write(tone(1.0, 44_100, second))
        storage.filesystem(bucket).put_file(str(path), f"{bucket}/{path.name}")
    n_read = []
    asked = lazy_file.fetch_any_version

    def counted(uri, given, size, start, end):
        n_read.append(end - start)
        return asked(uri, given, size, start, end)

    monkeypatch.setattr(lazy_file, "fetch_any_version", counted)
    for clip in list_sources([bucket], SourceOptions(storage=storage)).clips:
        n_read.clear()
        with open_clip_lazily(clip, storage) as file:
            header = probe_audio(file)
        assert (header.n_frames, header.is_exact) == (120 * 44_100, True), clip
        # The start, and the end where a format keeps its length there.
        assert sum(n_read) <= 5 * BLOCK_BYTES, (clip, n_read)
