"""Tests of container_size: the bytes that containers declare, and the bytes in the file."""

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
"""Number of bytes of the tag that FFmpeg's writer appends to the audio, by container."""
each_container = pytest.mark.parametrize("name", WHOLE)


def read(content):
    return read_declared_size(io.BytesIO(content))


def without_tag(name):
    content = WHOLE[name]
    return content[: content.rindex(b"APETAGEX", 0, -32)] if name == "tta" else content


@each_container
def test_a_complete_file_holds_what_it_declares(name):
    size = len(without_tag(name))
    assert read(WHOLE[name]) == (size, size)
    # Data appended to the file does not count.
    assert read(WHOLE[name] + bytes(5000)) == (size, size)
    assert read(WHOLE[name] + b"anything else" * 99) == (size, size)


@pytest.mark.parametrize(("name", "is_unread"), [("asf", 1), ("mp4", 1), ("tta", 1), ("avi", 0)])
def test_joined_recordings_are_found_if_the_decoder_stops_before_them(name, is_unread):
    content = without_tag(name)
    size = len(content)
    assert find_joined_bytes(io.BytesIO(content + content), size) == size * is_unread
    assert find_joined_bytes(io.BytesIO(content), size) == 0
    assert find_joined_bytes(io.BytesIO(content + bytes(5000)), size) == 0


def test_fragments_with_increasing_time_are_one_recording():
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "200000"}
    content = encoded(sound(1.0), "aac", "mp4", RATE_HZ, **options)
    size, first = len(content), content.index(b"moof") - 4
    assert read(content + content) == (size, size)
    assert find_joined_bytes(io.BytesIO(content + content), size) == size
    # Recorders of live streams repeat the header before fragments that continue.
    second = content.index(b"moof", first + 8) - 4
    repeated = content[:second] + content[:first] + content[second:]
    assert read(repeated) == (len(repeated), len(repeated))


@each_container
@pytest.mark.parametrize("lost", [1, 20, 5000])
def test_a_truncated_file_holds_less_than_it_declares(name, lost):
    content = without_tag(name)
    assert read(content[:-lost]) == (len(content), len(content) - lost)


def test_unknown_sizes_declare_nothing():
    matroska, asf, avi = WHOLE["matroska"], WHOLE["asf"], WHOLE["avi"]
    at = matroska.index(b"\x18\x53\x80\x67") + 4
    for open_size in (b"\x01" + b"\xff" * 7, b"\xff"):
        content = matroska[:at] + open_size + matroska[at + 8 :]
        assert read(content) == (len(content), len(content))
        assert read(content + bytes(3000)) is None
    at = asf.index(bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")) + 16
    assert read(asf[:at] + bytes(8) + asf[at + 8 :]) is None
    assert read(avi[:4] + bytes(4) + avi[8:]) is None
    assert read(b"\0\0\0\x10ftypM4A \0\0\0\0" + struct.pack(">I4s", 0, b"mdat") + bytes(99)) is None


def test_a_live_recording_declares_the_end_of_its_last_block():
    live = encoded(sound(2.0, 48_000), "libopus", "webm", 48_000, live="1")
    assert read(live) == (len(live), len(live))
    for n_bytes in (len(live) - 1, len(live) // 2, len(live) // 2 + 100):
        declared, present = read(live[:n_bytes])
        assert present == n_bytes < declared < len(live) + 1
    # With other data appended, the end is unknown.
    assert read(live + bytes(3000)) is None
    assert read(live + b"anything else" * 99) is None


def test_a_box_may_be_larger_than_four_gigabytes():
    content = b"\0\0\0\x10ftypM4A \0\0\0\0" + struct.pack(">I4sQ", 1, b"mdat", 1 << 33) + bytes(99)
    assert read(content) == (16 + (1 << 33), len(content))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE" + bytes(60), bytes(100)])
def test_other_containers_declare_nothing(content):
    assert read(content) is None


@given(st.sampled_from(list(WHOLE)), st.integers(0, 400), st.binary(max_size=40))
def test_any_bytes_give_a_valid_result(name, kept, garbage):
    result = read(WHOLE[name][:kept] + garbage)
    assert result is None or result[0] >= result[1] >= 0
