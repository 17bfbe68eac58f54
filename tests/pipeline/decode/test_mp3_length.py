"""`mp3_length`: the length of MP3s too large to be walked over, by both of their ends."""

import io
import random

import pytest

from pipeline.decode.headers.declared_length import DeclaredLength
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY
from pipeline.decode.mp3_length import estimate_mp3_length

FRAME = b"\xff\xfb\x90\x00".ljust(417, b"\x55")
"""MPEG-1 Layer III at 44.1 kHz and 128 kbit/s."""
N_FRAMES = 2000
AUDIO = N_FRAMES * FRAME


def info_frame(n_frames, n_bytes):
    counts = n_frames.to_bytes(4, "big") + n_bytes.to_bytes(4, "big")
    return (FRAME[:4] + bytes(32) + b"Info\0\0\0\3" + counts).ljust(417, b"\0")


class CountingFile(io.BytesIO):
    """A file that knows how much of it was read."""

    n_read = 0

    def read(self, size=-1, /):
        content = super().read(size)
        self.n_read += len(content)
        return content


def test_what_follows_the_audio_of_an_uncounted_mp3_is_not_counted():
    for behind in (b"", b"TAG" + bytes(125), bytes(200_000), random.Random(1).randbytes(300_000)):
        file = CountingFile(AUDIO + behind)
        found = estimate_mp3_length(file)
        assert found is not None
        assert not found.is_exact
        expected = N_FRAMES * 1152 - ASSUMED_DELAY
        assert found.n_samples == pytest.approx(expected, abs=len(behind) // 20 + 1)
        assert file.n_read < 500_000
    found = estimate_mp3_length(io.BytesIO(AUDIO + bytes(50_000)))
    assert found is not None
    assert found.n_samples == N_FRAMES * 1152 - ASSUMED_DELAY


def test_an_end_inside_a_frame_is_told():
    found = estimate_mp3_length(io.BytesIO(AUDIO[:-100]))
    assert found is not None
    assert found.promise == DeclaredLength(None, is_cut=True)


def test_a_sound_count_is_exact_and_costs_no_look_at_the_end():
    file = CountingFile(info_frame(N_FRAMES, len(AUDIO) + 417) + AUDIO)
    found = estimate_mp3_length(file)
    assert found is not None
    assert (found.n_samples, found.is_exact) == (N_FRAMES * 1152 - 529, True)
    assert file.n_read < 100_000


def test_joined_files_are_longer_than_the_first_of_them_counts():
    one = info_frame(N_FRAMES, len(AUDIO) + 417) + AUDIO
    found = estimate_mp3_length(io.BytesIO(one + one))
    assert found is not None
    assert not found.is_exact
    assert found.n_samples == pytest.approx(2 * N_FRAMES * 1152, rel=0.001)


def test_a_cut_file_lacks_the_bytes_that_its_tag_counts():
    found = estimate_mp3_length(
        io.BytesIO((info_frame(N_FRAMES, len(AUDIO) + 417) + AUDIO)[:400_100])
    )
    assert found is not None
    promise = found.promise
    assert promise is not None
    assert promise.declared == len(AUDIO) + 417
    assert promise.present == pytest.approx(400_100, abs=417)
    assert promise.is_cut
