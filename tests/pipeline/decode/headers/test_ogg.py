"""Tests of ogg: the first audio stream of an Ogg file, and the end of the file."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.ogg import OggAudio, OggEnd, find_ogg_end, read_ogg_header

VORBIS, OPUS = b"\x01vorbis" + bytes(23), b"OpusHead\x01\x01" + struct.pack("<H", 312) + bytes(7)
FIRST, LAST = 2, 4


def page(flags=0, position=0, serial=1, body=b"audio"):
    lengths = bytes([255] * (len(body) // 255) + [len(body) % 255])
    fields = struct.pack("<BBqIIIB", 0, flags, position, serial, 0, 0, len(lengths))
    return b"OggS" + fields + lengths + body


@pytest.fixture(scope="module")
def parse(tmp_path_factory):
    """A function that returns the audio stream and the end of an Ogg file with given bytes."""
    path = tmp_path_factory.mktemp("ogg") / "file"

    def parse_file(content):
        path.write_bytes(content)
        with open(path, "rb") as file:
            audio = read_ogg_header(file)
            return audio, audio and find_ogg_end(file, audio)

    return parse_file


def test_a_complete_file(parse):
    content = page(FIRST, body=VORBIS) + page() + page(0, 500) + page(LAST, 900)
    assert parse(content) == (OggAudio(1, "vorbis", 0), OggEnd(True, 900))


def test_the_pre_skip_of_opus_does_not_count(parse):
    content = page(FIRST, body=OPUS) + page(LAST, 48_312)
    assert parse(content) == (OggAudio(1, "opus", 312), OggEnd(True, 48_000, True))


@pytest.mark.parametrize("lost", [1, 6, 20, 32, 33])
def test_a_truncated_file_ends_with_its_last_complete_page(parse, lost):
    # A page with five bytes of content has 33 bytes: 27, one for the length, and 5.
    content = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, 900)
    assert parse(content[:-lost])[1] == OggEnd(False, 500, True, has_gaps=lost < 33)


def test_other_data_between_pages_is_a_gap(parse):
    content = page(FIRST, body=VORBIS) + page(0, 500), page(0, 700) + page(LAST, 900)
    assert parse(b"junk".join(content))[1] == OggEnd(True, 900, has_gaps=True)
    assert parse(b"".join(content) + b"TAG")[1] == OggEnd(True, 900, has_gaps=True)


def test_a_page_on_which_no_packet_ends_has_no_position(parse):
    content = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, -1)
    assert parse(content)[1] == OggEnd(True, 500)
    assert parse(page(FIRST, body=VORBIS) + page(LAST, -1))[1] == OggEnd(True, 0, True)


def test_the_audio_stream_of_a_video(parse):
    headers = page(FIRST, body=b"\x80theora", serial=7) + page(FIRST, body=VORBIS, serial=8)
    pages = page(0, 500, 8) + page(LAST, 900, 8) + page(LAST, 25, 7)
    assert parse(headers + pages) == (OggAudio(8, "vorbis", 0), OggEnd(True, 900))


def test_chained_streams_have_no_known_position(parse):
    first = page(FIRST, body=VORBIS) + page(LAST, 900)
    # The second stream is longer than the part of the file that is read.
    second = [page(0, 100 * i, 2, bytes(60_000)) for i in range(4)]
    chain = first + page(FIRST, body=VORBIS, serial=2) + b"".join(second)
    assert parse(chain)[1] == OggEnd(False, None)
    assert parse(chain + page(LAST, 999, 2))[1] == OggEnd(True, None)


def test_a_short_second_stream_is_not_a_gap(parse):
    first = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, 900)
    assert parse(first + page(FIRST, body=VORBIS, serial=2) + page(LAST, 9, 2))[1] == OggEnd(
        True, None
    )


@pytest.mark.parametrize("content", [b"", b"OggS", b"RIFF" + bytes(99), page(body=VORBIS)])
def test_files_without_ogg_audio(parse, content):
    assert parse(content) == (None, None)
    assert parse(page(FIRST, body=b"\x80theora")) == (None, None)


def test_a_file_written_by_libsndfile(tmp_path, parse):
    soundfile.write(tmp_path / "a.ogg", np.zeros(12_345), 8_000)
    audio, end = parse((tmp_path / "a.ogg").read_bytes())
    assert (audio.codec, end) == ("vorbis", OggEnd(True, 12_345, True))


pages = st.builds(
    page,
    st.integers(0, 7),
    st.integers(-1, 1 << 40),
    st.integers(0, 2),
    st.one_of(st.just(VORBIS), st.just(OPUS), st.binary(max_size=300)),
)


@given(st.lists(pages, max_size=5).map(b"".join), st.integers(0, 400))
def test_any_pages_give_a_valid_result(parse, content, lost):
    audio, end = parse(content[: len(content) - lost])
    assert audio is not None or end is None
    assert end is None or end.position is None or end.position >= 0
