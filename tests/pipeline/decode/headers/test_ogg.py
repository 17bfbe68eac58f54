"""`pipeline.decode.headers.ogg`: the streams of an Ogg file, and its end."""

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
def look(tmp_path_factory):
    """The audio of an Ogg file of these bytes, and its end."""
    path = tmp_path_factory.mktemp("ogg") / "file"

    def of(content):
        path.write_bytes(content)
        with open(path, "rb") as file:
            audio = read_ogg_header(file)
            return audio, audio and find_ogg_end(file, audio)

    return of


def test_a_whole_file(look):
    content = page(FIRST, body=VORBIS) + page() + page(0, 500) + page(LAST, 900)
    assert look(content) == (OggAudio(1, "vorbis", 0), OggEnd(True, 900))


def test_opus_plays_less_than_its_position(look):
    content = page(FIRST, body=OPUS) + page(LAST, 48_312)
    assert look(content) == (OggAudio(1, "opus", 312), OggEnd(True, 48_000, True))


@pytest.mark.parametrize("lost", [1, 6, 20, 32, 33])
def test_a_cut_file_ends_with_its_last_whole_page(look, lost):
    # A page of five bytes has 33: 27, one for their length, 5.
    content = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, 900)
    assert look(content[:-lost])[1] == OggEnd(False, 500, True, has_gaps=lost < 33)


def test_what_is_no_page_is_a_gap(look):
    content = page(FIRST, body=VORBIS) + page(0, 500), page(0, 700) + page(LAST, 900)
    assert look(b"junk".join(content))[1] == OggEnd(True, 900, has_gaps=True)
    assert look(b"".join(content) + b"TAG")[1] == OggEnd(True, 900, has_gaps=True)


def test_a_page_on_which_no_packet_ends_has_no_position(look):
    content = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, -1)
    assert look(content)[1] == OggEnd(True, 500)
    assert look(page(FIRST, body=VORBIS) + page(LAST, -1))[1] == OggEnd(True, 0, True)


def test_the_audio_of_a_video(look):
    heads = page(FIRST, body=b"\x80theora", serial=7) + page(FIRST, body=VORBIS, serial=8)
    pages = page(0, 500, 8) + page(LAST, 900, 8) + page(LAST, 25, 7)
    assert look(heads + pages) == (OggAudio(8, "vorbis", 0), OggEnd(True, 900))


def test_streams_one_after_another_have_no_length_together(look):
    one = page(FIRST, body=VORBIS) + page(LAST, 900)
    # Longer than the tail that is looked at.
    other = [page(0, 100 * i, 2, bytes(60_000)) for i in range(4)]
    chain = one + page(FIRST, body=VORBIS, serial=2) + b"".join(other)
    assert look(chain)[1] == OggEnd(False, None)
    assert look(chain + page(LAST, 999, 2))[1] == OggEnd(True, None)


def test_a_short_stream_behind_is_not_filling(look):
    one = page(FIRST, body=VORBIS) + page(0, 500) + page(LAST, 900)
    assert look(one + page(FIRST, body=VORBIS, serial=2) + page(LAST, 9, 2))[1] == OggEnd(
        True, None
    )


@pytest.mark.parametrize("content", [b"", b"OggS", b"RIFF" + bytes(99), page(body=VORBIS)])
def test_what_is_no_ogg_with_audio(look, content):
    assert look(content) == (None, None)
    assert look(page(FIRST, body=b"\x80theora")) == (None, None)


def test_a_file_of_libsndfiles(tmp_path, look):
    soundfile.write(tmp_path / "a.ogg", np.zeros(12_345), 8_000)
    audio, end = look((tmp_path / "a.ogg").read_bytes())
    assert (audio.codec, end) == ("vorbis", OggEnd(True, 12_345, True))


pages = st.builds(
    page,
    st.integers(0, 7),
    st.integers(-1, 1 << 40),
    st.integers(0, 2),
    st.one_of(st.just(VORBIS), st.just(OPUS), st.binary(max_size=300)),
)


@given(st.lists(pages, max_size=5).map(b"".join), st.integers(0, 400))
def test_any_pages_give_an_answer(look, content, lost):
    audio, end = look(content[: len(content) - lost])
    assert audio is not None or end is None
    assert end is None or end.position is None or end.position >= 0
