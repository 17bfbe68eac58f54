"""Tests of mp3.frames: counting the frames of an MP3."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.mp3 import frames
from pipeline.decode.headers.mp3.frames import Mp3Frames, count_mp3_frames

# MPEG-1 Layer III at 44.1 kHz: 144 * bit rate / 44,100 bytes per frame.
SIZES = {32: 104, 64: 208, 128: 417, 320: 1044}
INDEX = {32: 1, 64: 5, 128: 9, 320: 14}
MONO, STEREO = 0xC0, 0x00


def frame(kbps=128, mode=STEREO, sync=0xFB, rate=0, n_bytes=0):
    header = bytes([0xFF, sync, INDEX[kbps] << 4 | rate << 2, mode])
    return header.ljust(n_bytes or SIZES[kbps], b"\x55")


def id3(n_bytes):
    length = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + length + random.Random(n_bytes).randbytes(n_bytes)


def count(content):
    return count_mp3_frames(io.BytesIO(content))


VARIABLE = b"".join(frame(kbps) for kbps in (32, 320, 64, 128, 128, 320, 32))


@pytest.fixture(params=[1 << 20, 2000, 1044])
def block_bytes(request, monkeypatch):
    """Sizes of a block that hold the whole file, or little more than a frame."""
    monkeypatch.setattr(frames, "_BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("block_bytes")
class TestInBlocks:
    """Tests whose results do not depend on the size of a block."""

    def test_frames_of_any_bit_rate_are_counted(self):
        assert count(VARIABLE) == Mp3Frames(7 * 1152, len(VARIABLE), True)
        assert count(9 * VARIABLE) == Mp3Frames(63 * 1152, 9 * len(VARIABLE), True)

    def test_tags_before_and_after_the_frames_do_not_count(self):
        for tags in (id3(30), id3(100_000), id3(9) * 3):
            for trailing in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(3000), bytes(5000)):
                end = len(tags) + len(VARIABLE)
                assert count(tags + VARIABLE + trailing) == Mp3Frames(7 * 1152, end, True)

    @pytest.mark.parametrize("between", [b"\0", b"\xff" * 99, bytes(4000), id3(300), id3(50_000)])
    def test_other_data_between_frames_is_skipped(self, between):
        content = VARIABLE + between + VARIABLE
        n_gaps = 0 if between.startswith(b"ID3") else 1
        assert count(content) == Mp3Frames(14 * 1152, len(content), True, n_gaps)
        assert count(content + between + VARIABLE + between) == Mp3Frames(
            21 * 1152, 2 * len(content) - len(VARIABLE), True, 2 * n_gaps
        )

    def test_a_truncated_frame_does_not_count(self):
        whole = len(VARIABLE)
        for n in (1, 3, 4, 50, 207):
            cut = Mp3Frames(7 * 1152, whole, True, is_cut=True)
            assert count(VARIABLE + frame(64)[:n]) == cut
        # A partial frame after other data does not mean that the audio was truncated.
        content = VARIABLE + bytes(500) + frame(64)[:50]
        assert count(content) == Mp3Frames(7 * 1152, whole, True)
        assert count(VARIABLE + frame(64)) == Mp3Frames(8 * 1152, whole + 208, True)

    def test_a_change_of_rate_or_channels_is_not_uniform(self):
        at_48_khz, mpeg2 = frame(rate=1, n_bytes=384), frame(sync=0xF3, n_bytes=261)
        for other in (frame(64, mode=MONO), at_48_khz, mpeg2):
            for between in (b"", id3(3000)):
                result = count(VARIABLE + between + 3 * other)
                assert result is not None
                assert not result.is_uniform
        # A single frame of another rate is damage.
        result = count(VARIABLE + at_48_khz + VARIABLE)
        assert result == Mp3Frames(14 * 1152, 2 * len(VARIABLE) + 384, True, n_gaps=1)
        # Stereo and joint stereo may alternate.
        result = count(VARIABLE + frame(64, mode=0x60))
        assert result is not None
        assert result.is_uniform


@pytest.mark.parametrize(
    "content", [b"", b"RIFF" + bytes(60), bytes(9) + VARIABLE, frame() + bytes(100_000)]
)
def test_files_that_do_not_begin_with_frames_have_none(content):
    assert count(content) is None


@given(st.lists(st.sampled_from([frame(32), frame(320), b"\xff", b"\xff\xfb", b"ID3"]), max_size=9))
def test_any_parts_give_a_valid_result(parts):
    content = VARIABLE + b"".join(parts)
    result = count(content)
    assert result is not None
    assert 7 * 1152 <= result.n_samples <= 16 * 1152
    assert result.end <= len(content)
