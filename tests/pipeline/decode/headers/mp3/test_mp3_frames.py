"""`pipeline.decode.headers.mp3.frames`: frames, counted from header to header."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.mp3 import frames
from pipeline.decode.headers.mp3.frames import Mp3Frames, count_mp3_frames

# MPEG-1 Layer III at 44.1 kHz: 144 * bit rate / 44,100 bytes a frame.
SIZES = {32: 104, 64: 208, 128: 417, 320: 1044}
INDEX = {32: 1, 64: 5, 128: 9, 320: 14}
MONO, STEREO = 0xC0, 0x00


def frame(kbps=128, mode=STEREO, sync=0xFB, rate=0, n_bytes=0):
    header = bytes([0xFF, sync, INDEX[kbps] << 4 | rate << 2, mode])
    return header.ljust(n_bytes or SIZES[kbps], b"\x55")


def id3(n_bytes):
    length = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + length + random.Random(n_bytes).randbytes(n_bytes)


def found(content):
    return count_mp3_frames(io.BytesIO(content))


VARIABLE = b"".join(frame(kbps) for kbps in (32, 320, 64, 128, 128, 320, 32))


@pytest.fixture(params=[1 << 20, 2000, 1044])
def block_bytes(request, monkeypatch):
    """Blocks that hold all, or not much more than a frame."""
    monkeypatch.setattr(frames, "_BLOCK_BYTES", request.param)


@pytest.mark.usefixtures("block_bytes")
class TestInBlocks:
    """Whatever is read at once."""

    def test_frames_of_any_bit_rate(self):
        assert found(VARIABLE) == Mp3Frames(7 * 1152, len(VARIABLE), True)
        assert found(9 * VARIABLE) == Mp3Frames(63 * 1152, 9 * len(VARIABLE), True)

    def test_tags_in_front_and_behind(self):
        for tags in (id3(30), id3(100_000), id3(9) * 3):
            for behind in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(3000), bytes(5000)):
                end = len(tags) + len(VARIABLE)
                assert found(tags + VARIABLE + behind) == Mp3Frames(7 * 1152, end, True)

    @pytest.mark.parametrize("between", [b"\0", b"\xff" * 99, bytes(4000), id3(300), id3(50_000)])
    def test_what_is_no_frame_is_passed_over(self, between):
        content = VARIABLE + between + VARIABLE
        n_gaps = 0 if between.startswith(b"ID3") else 1
        assert found(content) == Mp3Frames(14 * 1152, len(content), True, n_gaps)
        assert found(content + between + VARIABLE + between) == Mp3Frames(
            21 * 1152, 2 * len(content) - len(VARIABLE), True, 2 * n_gaps
        )

    def test_a_frame_that_was_cut_off_is_none(self):
        whole = len(VARIABLE)
        for n in (1, 3, 4, 50, 207):
            cut = Mp3Frames(7 * 1152, whole, True, is_cut=True)
            assert found(VARIABLE + frame(64)[:n]) == cut
        # What follows the frames and looks like a frame only further on is no part of the audio.
        behind = VARIABLE + bytes(500) + frame(64)[:50]
        assert found(behind) == Mp3Frames(7 * 1152, whole, True)
        assert found(VARIABLE + frame(64)) == Mp3Frames(8 * 1152, whole + 208, True)

    def test_a_change_of_rate_or_channels(self):
        at_48_khz, mpeg2 = frame(rate=1, n_bytes=384), frame(sync=0xF3, n_bytes=261)
        for other in (frame(64, mode=MONO), at_48_khz, mpeg2):
            for between in (b"", id3(3000)):
                both = found(VARIABLE + between + 3 * other)
                assert both is not None
                assert not both.is_uniform
        # A single one is damage.
        once = found(VARIABLE + at_48_khz + VARIABLE)
        assert once == Mp3Frames(14 * 1152, 2 * len(VARIABLE) + 384, True, n_gaps=1)
        # Joint stereo comes and goes.
        both = found(VARIABLE + frame(64, mode=0x60))
        assert both is not None
        assert both.is_uniform


@pytest.mark.parametrize(
    "content", [b"", b"RIFF" + bytes(60), bytes(9) + VARIABLE, frame() + bytes(100_000)]
)
def test_what_does_not_begin_with_frames(content):
    assert found(content) is None


@given(st.lists(st.sampled_from([frame(32), frame(320), b"\xff", b"\xff\xfb", b"ID3"]), max_size=9))
def test_anything_gives_an_answer(parts):
    content = VARIABLE + b"".join(parts)
    both = found(content)
    assert both is not None
    assert 7 * 1152 <= both.n_samples <= 16 * 1152
    assert both.end <= len(content)
