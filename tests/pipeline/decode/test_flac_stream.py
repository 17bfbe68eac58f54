"""`length`, `open_flac`: all samples of a FLAC are decoded, whatever its header counts."""

import dataclasses
import io

import numpy as np
import pytest

from pipeline.decode.headers.flac.crc16 import has_valid_crc16
from pipeline.decode.headers.flac.length import find_flac_audio
from pipeline.decode.headers.overlay import Overlay
from pipeline.decode.open_audio import open_audio
from pipeline.decode.probe import probe_audio
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.readers.shard_reader import clip_recording, clip_recordings
from pipeline.stream.clip_decoder import ClipReader, clip_reader, open_clips
from tests.pipeline.decode.damaged_audio import RATE_HZ, sound
from tests.pipeline.decode.damaged_flac import (
    BLOCK,
    N_SAMPLES,
    flac,
    flac_of_ffmpeg_without_a_sample_count,
    frames_of,
    segment_of_a_flac_whose_frames_keep_their_numbers,
)


def samples_of(content: bytes) -> np.ndarray:
    with open_audio(io.BytesIO(content)) as opened:
        return np.concatenate([piece[:, 0] for piece in opened.pieces])


def as_floats(*pcm: np.ndarray) -> np.ndarray:
    return np.concatenate(pcm).astype(np.float32) / 32_768


@pytest.fixture
def written(tmp_path, listed):
    """Writes a FLAC; returns it as a clip, or a span of it."""

    def write(content, span=None):
        (tmp_path / "a.flac").write_bytes(content)
        ref = listed(tmp_path / "a.flac")
        return dataclasses.replace(ref, member=f"t={span}", span=span) if span else ref

    return write


@pytest.mark.parametrize(
    "content",
    [flac(total=0), flac_of_ffmpeg_without_a_sample_count()],
    ids=["libsndfile", "ffmpeg"],
)
def test_flac_without_a_sample_count_is_decoded_whole(content):
    assert samples_of(content).tobytes() == as_floats(sound()).tobytes()
    header = probe_audio(io.BytesIO(content))
    assert (header.n_frames, header.is_exact) == (N_SAMPLES, True)


def test_spans_of_a_flac_without_a_sample_count_are_those_of_one_with_a_count(written):
    spans = [(0.0, 0.5), (0.25, 1.25), (2.5, 3.0)]
    found = []
    for total in (0, N_SAMPLES):
        whole = written(flac(total=total))
        refs = [dataclasses.replace(whole, member=f"t={span}", span=span) for span in spans]
        (recording,) = clip_recordings(refs)
        clips = [
            np.concatenate(list(ClipReader(ref, open_clip).pieces()))
            for ref, open_clip in open_clips(recording)
        ]
        assert [len(clip) / 32_000 for clip in clips] == [0.5, 1.0, 0.5]
        found.append(np.concatenate(clips).tobytes())
    assert found[0] == found[1]


def test_samples_of_a_segment_that_keeps_its_frame_numbers():
    content = segment_of_a_flac_whose_frames_keep_their_numbers()
    assert samples_of(content).tobytes() == as_floats(sound()[5 * BLOCK :]).tobytes()


def test_flac_whose_header_counts_too_much_says_what_it_holds(written):
    with pytest.raises(ClipError, match="promises 96000 frames, the file holds 48000") as raised:
        list(clip_reader(clip_recording(written(flac(total=2 * N_SAMPLES)))).pieces())
    assert raised.value.error_class == "truncated"


def test_short_tolerance_takes_what_there_is_of_a_flac_that_counts_too_much(written):
    reader = clip_reader(
        clip_recording(written(flac(total=2 * N_SAMPLES))), Limits(short_tolerance=0.5)
    )
    assert sum(map(len, reader.pieces())) == 2 * N_SAMPLES  # at 32 kHz
    assert reader.decoded_short


def test_short_tolerance_takes_the_whole_frames_of_a_cut_flac(written):
    reader = clip_reader(clip_recording(written(flac()[:-1])), Limits(short_tolerance=0.1))
    assert sum(map(len, reader.pieces())) == 2 * 11 * BLOCK
    assert reader.decoded_short


def test_a_hole_in_a_flac_is_reported_with_the_frames_before_it(written):
    head, *frames = frames_of(flac())
    content = head + b"".join(frames[:7]) + bytes(len(frames[7])) + b"".join(frames[8:])
    # libFLAC leaves out the frame before the hole, too.
    with pytest.raises(ClipError, match=f"the file holds {6 * BLOCK};"):
        list(clip_reader(clip_recording(written(content))).pieces())


@pytest.mark.parametrize("total", [N_SAMPLES, 0])
def test_joined_flacs_are_decoded_to_the_end_of_the_last_one(total):
    content = flac(total=total) + flac(total=total, seed=1) + flac(1.0, total=0, seed=2)
    expected = as_floats(sound(), sound(seed=1), sound(1.0, seed=2))
    assert samples_of(content).tobytes() == expected.tobytes()


def test_spans_of_joined_flacs_lie_where_they_lie_in_the_whole(written):
    content = flac() + flac(seed=1)
    whole = as_floats(sound(), sound(seed=1))
    for first in (24_000, 60_000, 40_000):
        span = (first / RATE_HZ, (first + 16_000) / RATE_HZ)
        reader = clip_reader(clip_recording(written(content, span)))
        clip = np.concatenate(list(reader.pieces()))
        expected = whole[first : first + 16_000]
        assert np.corrcoef(clip[::2], expected)[0, 1] > 0.95


def damaged_joined_flacs():
    """Return two FLACs in one file, damaged so that a decoder loses a part without a word."""
    head, *frames = frames_of(flac())
    damaged = head[:-4] + b"".join(frames)  # its metadata seems to go on into the first frame
    lost = head + b"".join(frames[:2]) + bytes(64)
    yield "second loses its frames", flac() + head[:42] + b"\x84\0\xff\xff" + b"".join(frames)
    yield "first ends early, the second counts as much", lost + flac()
    yield "second has no frame", flac() + head
    yield "second begins within its metadata", flac() + damaged


@pytest.mark.parametrize(
    "content", [pytest.param(content, id=name) for name, content in damaged_joined_flacs()]
)
def test_joined_flacs_of_which_a_part_is_lost_are_truncated(content, written):
    with pytest.raises(ClipError) as raised:
        list(clip_reader(clip_recording(written(content))).pieces())
    assert raised.value.error_class == "truncated"


def test_lengths_of_frames_that_a_damaged_header_says_are_not_believed():
    content = bytearray(flac())
    content[8:12] = b"\0\0\xff\xff"
    header = probe_audio(io.BytesIO(content))
    assert (header.n_frames, header.is_exact) == (N_SAMPLES, True)
    assert samples_of(bytes(content)).tobytes() == as_floats(sound()).tobytes()


def test_a_flac_that_counts_too_little_is_decoded_to_its_end():
    content = flac(total=N_SAMPLES // 2)
    assert samples_of(content).tobytes() == as_floats(sound()).tobytes()


def test_the_plan_reads_the_ends_of_a_flac_alone():
    content = flac(60.0)
    read = []

    class Counting(io.BytesIO):
        def read(self, n=-1):
            found = super().read(n)
            read.append(len(found))
            return found

    audio = find_flac_audio(Counting(content))
    assert audio is not None
    assert audio.n_samples == 60 * RATE_HZ
    assert sum(read) < 0.2 * len(content)


@pytest.mark.timeout(60)
def test_bytes_that_look_like_many_frames_or_many_flacs_do_not_take_for_ever():
    head, first, *_ = frames_of(flac())
    for content in (head + b"\xff\xf8" * 1_000_000, head + first[:20] * 100_000):
        audio = find_flac_audio(io.BytesIO(content))
        assert audio is not None
        assert audio.n_samples is None
    with pytest.raises(ValueError, match="more than 10000 FLACs that were joined"):
        find_flac_audio(io.BytesIO(flac() + head[:42] * 20_000), is_exhaustive=True)


@pytest.mark.parametrize("n_bytes", [2, 3, 100, 5001])
def test_a_checksum_of_16_bits(n_bytes):
    content = np.random.default_rng(n_bytes).bytes(n_bytes - 2)
    crc = 0
    for byte in content:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x18005 if crc & 0x8000 else 0)
    assert has_valid_crc16(content + crc.to_bytes(2, "big"))
    assert not has_valid_crc16(content + (crc ^ 1).to_bytes(2, "big"))


def test_an_overlay_is_its_head_and_then_the_range():
    overlay = io.BufferedReader(Overlay(io.BytesIO(b"0123456789"), b"ab", 3, 8))
    assert overlay.read() == b"ab34567"
    overlay.seek(1)
    assert (overlay.read(3), overlay.read(10), overlay.read()) == (b"b34", b"567", b"")
