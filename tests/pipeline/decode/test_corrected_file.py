"""`pipeline.decode.corrected_file`: what a header does not count is decoded, or it is reported."""

import dataclasses
import io
import os
import struct

import numpy as np
import pytest

from pipeline.decode.corrected_file import correct_header
from pipeline.decode.headers.declared_length import DeclaredLength
from pipeline.decode.headers.riff import find_audio_chunk
from pipeline.decode.libsndfile import open_libsndfile
from pipeline.decode.probe import probe_audio
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader
from tests.pipeline.decode.damaged_audio import sound, wav
from tests.pipeline.decode.damaged_pcm import FORMATS, N_BYTES, PCM, chunk, mp3_in_wav

WRAP = 1 << 32


def frames_of(content: bytes) -> bytes:
    """Return the 16-bit samples that are decoded of a file."""
    with open_libsndfile(correct_header(io.BytesIO(content)).file) as opened:
        floats = np.concatenate([piece[:, 0] for piece in opened.pieces])
    return (floats * 32_768).astype(np.int16).tobytes()


each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.ending)


@each_format
def test_audio_that_a_header_does_not_count_is_decoded(form):
    assert frames_of(form.declaring(N_BYTES // 2)) == PCM


@each_format
def test_audio_behind_a_header_that_was_never_finished_is_decoded(form):
    for size in form.unfinished:
        assert frames_of(form.with_size(size)) == PCM


@each_format
def test_a_sound_file_is_decoded_without_a_detour(form):
    file = io.BytesIO(form.content)
    assert correct_header(file).file is file


def test_a_wav_whose_size_began_again_at_4_gib_is_decoded_whole(tmp_path, listed):
    path = tmp_path / "long.wav"
    with open(path, "wb") as file:
        file.write(wav(PCM, 96_000))
        file.truncate(44 + WRAP + 96_000)  # a hole, which reads as silence
        file.seek(0, os.SEEK_END)
        file.write(chunk(b"LIST", b"INFO" + bytes(400)))
    n_frames = (WRAP + 96_000) // 2
    with open(path, "rb") as file:
        header = probe_audio(file)
        assert (header.n_frames, header.is_exact) == (n_frames, True)
        with open_libsndfile(correct_header(file).file) as opened:
            assert opened.n_frames == n_frames
            assert opened.seek
            opened.seek(n_frames - 10)
            assert sum(map(len, opened.pieces)) == 10
    with pytest.raises(ClipError, match=r"134220\.7 s \(its header says\)") as raised:
        next(clip_reader(clip_recording(listed(path))).pieces())
    assert raised.value.error_class == "too_long"
    span = dataclasses.replace(listed(path), member="t=", span=(70_000.0, 70_001.0))
    assert sum(map(len, clip_reader(clip_recording(span)).pieces())) == 32_000


def test_a_big_endian_wav_whose_size_began_again_at_4_gib_is_reported(tmp_path, listed):
    path = tmp_path / "long.wav"
    path.write_bytes(FORMATS[1].content)
    os.truncate(path, len(FORMATS[1].content) + WRAP)
    with pytest.raises(ClipError, match="RIFX cannot count more than 4294967295 bytes") as raised:
        list(clip_reader(clip_recording(listed(path))).pieces())
    assert raised.value.error_class == "unread_audio"


def test_a_cut_wav_of_more_than_2_gib_says_what_is_missing(tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(wav(b"", 0xB000_0000))
    os.truncate(path, 44 + (1 << 30))
    with open(path, "rb") as file:
        assert correct_header(file).promise == DeclaredLength(
            0xB000_0000, 1 << 30, "bytes of audio"
        )


def test_two_data_chunks_are_reported_in_our_words(tmp_path, listed):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(PCM + chunk(b"data", PCM), N_BYTES))
    told = "holds 192000 bytes of audio, of which 96000 can be read .* another 'data' chunk"
    with pytest.raises(ClipError, match=told) as raised:
        list(clip_reader(clip_recording(listed(path))).pieces())
    assert raised.value.error_class == "unread_audio"
    reader = clip_reader(clip_recording(listed(path)), Limits(short_tolerance=1.0))
    assert sum(map(len, reader.pieces())) == N_BYTES  # 48,000 samples, at 32 kHz
    assert reader.decoded_short


@pytest.mark.parametrize("counts_delay", [True, False])
def test_mp3_in_wav_is_in_step_with_its_source(decoded, tmp_path, counts_delay):
    content = bytearray(mp3_in_wav())
    at = content.index(b"fact") + 8
    if not counts_delay:
        content[at : at + 4] = struct.pack("<I", 48_000)
    (tmp_path / "a.wav").write_bytes(content)
    samples, reader = decoded(tmp_path / "a.wav")
    assert len(samples) == pytest.approx(96_000, abs=10)
    assert not reader.decoded_short
    source = sound().astype(np.float64)
    ours = samples[::2].astype(np.float64)
    n = len(source) + len(ours)
    product = np.fft.rfft(ours, n) * np.conj(np.fft.rfft(source, n))
    assert np.argmax(np.fft.irfft(product, n)) in (0, 1, n - 1)


def test_the_chunks_of_each_format_are_found():
    for form in FORMATS:
        found = find_audio_chunk(io.BytesIO(form.content))
        if form.ending.endswith("au"):
            assert found is None
            continue
        assert found is not None
        assert found.size == found.present_bytes == N_BYTES + found.layout.audio_offset


def test_a_wav_is_read_no_further_than_its_header_and_what_comes_after_the_audio():
    read = []

    class Counting(io.BytesIO):
        def read(self, n=-1):
            found = super().read(n)
            read.append(len(found))
            return found

    correct_header(Counting(wav(PCM + chunk(b"LIST", b"INFO" + bytes(40)), N_BYTES)))
    assert sum(read) < 5_000
