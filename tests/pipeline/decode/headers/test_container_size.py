"""`container_size`: bytes that containers declare, and those that are there."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.container_size import find_joined_bytes, read_declared_size
from tests.pipeline.decode.damaged_audio import RATE_HZ, sound
from tests.pipeline.decode.encoding import encoded

WHOLE = {
    "matroska": encoded(sound(1.0), "flac", "matroska", RATE_HZ),
    "asf": encoded(sound(1.0), "wmav2", "asf", RATE_HZ),
    "mp4": encoded(sound(1.0), "aac", "mp4", RATE_HZ, movflags="faststart"),
    "avi": encoded(sound(1.0), "pcm_s16le", "avi", RATE_HZ),
    "tta": encoded(sound(1.0), "tta", "tta", RATE_HZ),
}
APE_TAG = {"tta": 93}
"""Bytes that FFmpeg's writer puts behind the audio."""
each = pytest.mark.parametrize("name", WHOLE)


def found(content):
    return read_declared_size(io.BytesIO(content))


def audio_of(name):
    content = WHOLE[name]
    return content[: content.rindex(b"APETAGEX", 0, -32)] if name == "tta" else content


@each
def test_a_whole_file_holds_what_it_declares(name):
    size = len(audio_of(name))
    assert found(WHOLE[name]) == (size, size)
    # What is put behind it is no part of it.
    assert found(WHOLE[name] + bytes(5000)) == (size, size)
    assert found(WHOLE[name] + b"anything else" * 99) == (size, size)


@pytest.mark.parametrize(("name", "is_left"), [("asf", 1), ("mp4", 1), ("tta", 1), ("avi", 0)])
def test_recordings_that_were_joined_are_found_where_their_decoder_stops(name, is_left):
    content = audio_of(name)
    size = len(content)
    assert find_joined_bytes(io.BytesIO(content + content), size) == size * is_left
    assert find_joined_bytes(io.BytesIO(content), size) == 0
    assert find_joined_bytes(io.BytesIO(content + bytes(5000)), size) == 0


def test_fragments_are_one_recording_while_their_time_goes_on():
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}
    content = encoded(sound(1.0), "aac", "mp4", RATE_HZ, **options)
    size, first = len(content), content.index(b"moof") - 4
    assert found(content + content) == (size, size)
    assert find_joined_bytes(io.BytesIO(content + content), size) == size
    # As players of live streams write it: the header again, before fragments that go on.
    second = content.index(b"moof", first + 8) - 4
    repeated = content[:second] + content[:first] + content[second:]
    assert found(repeated) == (len(repeated), len(repeated))


@each
@pytest.mark.parametrize("lost", [1, 20, 5000])
def test_a_cut_file_holds_less_than_it_declares(name, lost):
    content = audio_of(name)
    assert found(content[:-lost]) == (len(content), len(content) - lost)


def test_sizes_that_are_left_open_declare_nothing():
    matroska, asf, avi = WHOLE["matroska"], WHOLE["asf"], WHOLE["avi"]
    at = matroska.index(b"\x18\x53\x80\x67") + 4
    for open_size in (b"\x01" + b"\xff" * 7, b"\xff"):
        content = matroska[:at] + open_size + matroska[at + 8 :]
        assert found(content) == (len(content), len(content))
        assert found(content + bytes(3000)) is None
    at = asf.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 16
    assert found(asf[:at] + bytes(8) + asf[at + 8 :]) is None
    assert found(avi[:4] + bytes(4) + avi[8:]) is None
    assert (
        found(b"\0\0\0\x10ftypM4A \0\0\0\0" + struct.pack(">I4s", 0, b"mdat") + bytes(99)) is None
    )


def test_a_live_recording_declares_the_end_of_its_last_block():
    live = encoded(sound(2.0, 48_000), "libopus", "webm", 48_000, live="1")
    assert found(live) == (len(live), len(live))
    for n_bytes in (len(live) - 1, len(live) // 2, len(live) // 2 + 100):
        declared, present = found(live[:n_bytes])
        assert present == n_bytes < declared < len(live) + 1
    # What is put behind says nothing of the end.
    assert found(live + bytes(3000)) is None
    assert found(live + b"anything else" * 99) is None


def test_a_box_of_more_than_four_gigabytes():
    content = b"\0\0\0\x10ftypM4A \0\0\0\0" + struct.pack(">I4sQ", 1, b"mdat", 1 << 33) + bytes(99)
    assert found(content) == (16 + (1 << 33), len(content))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE" + bytes(60), bytes(100)])
def test_other_formats_declare_nothing_here(content):
    assert found(content) is None


@given(st.sampled_from(list(WHOLE)), st.integers(0, 400), st.binary(max_size=40))
def test_any_bytes_give_an_answer(name, kept, garbage):
    answer = found(WHOLE[name][:kept] + garbage)
    assert answer is None or answer[0] >= answer[1] >= 0
