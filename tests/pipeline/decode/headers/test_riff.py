"""Tests of riff: the size of the audio that WAV and AIFF headers declare, and its real size."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.riff import read_riff_length

N_FRAMES, CHANNELS = 1001, 2
# 16 bits per sample; the audio chunk of an AIFF starts with 8 bytes of offset and block size.
PCM_BYTES = N_FRAMES * CHANNELS * 2
AUDIO_BYTES = {
    ("WAV", "FILE"): PCM_BYTES,
    ("WAVEX", "FILE"): PCM_BYTES,
    ("RF64", "FILE"): PCM_BYTES,
    ("AIFF", "FILE"): 8 + PCM_BYTES,
    ("AIFF", "LITTLE"): 8 + PCM_BYTES,  # libsndfile writes an AIFC
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A function that returns the declared and the present size of audio in bytes of a file."""
    path = tmp_path_factory.mktemp("chunks") / "file"

    def read_file(content):
        path.write_bytes(content)
        with open(path, "rb") as file:
            return read_riff_length(file)

    return read_file


@pytest.fixture(params=AUDIO_BYTES, ids="-".join)
def whole(request, tmp_path):
    """The bytes of a file written by libsndfile, and the size of its audio in bytes."""
    container, endian = request.param
    path = tmp_path / "whole"
    pcm = np.ones((N_FRAMES, CHANNELS), np.int16)
    soundfile.write(path, pcm, 44_100, subtype="PCM_16", format=container, endian=endian)
    return path.read_bytes(), AUDIO_BYTES[request.param]


def chunk(name, body, order="<"):
    return name + struct.pack(order + "I", len(body)) + body + bytes(len(body) % 2)


def wav(*chunks, form=b"RIFF"):
    return form + struct.pack("<I", 0xFFFF_FFFF) + b"WAVE" + b"".join(chunks)


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 32_000, 64_000, 2, 16))


def test_a_complete_file_holds_what_it_declares(whole, read):
    content, audio_bytes = whole
    assert read(content) == (audio_bytes, audio_bytes)


@pytest.mark.parametrize("lost", [1, 100, PCM_BYTES // 2, PCM_BYTES])
def test_a_truncated_file_holds_less_than_it_declares(whole, read, lost):
    content, audio_bytes = whole
    # libsndfile writes nothing after the audio except a padding byte for an odd length; 4004 and
    # 4012 bytes need none.
    assert read(content[: len(content) - lost]) == (audio_bytes, audio_bytes - lost)


def test_chunks_after_the_audio_do_not_count(read):
    assert read(wav(FMT, chunk(b"data", b"abcd"), chunk(b"LIST", b"x" * 99))) == (4, 4)


def test_a_chunk_of_odd_size_is_followed_by_a_padding_byte(read):
    assert read(wav(FMT, chunk(b"LIST", b"odd"), chunk(b"junk", b""), chunk(b"data", b"ab"))) == (
        2,
        2,
    )


@pytest.mark.parametrize("size", [0, 0x7FFF_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_placeholder_sizes_of_writers_to_a_pipe_declare_nothing(read, size):
    assert read(wav(FMT, b"data" + struct.pack("<I", size) + b"abcd")) is None


def test_the_size_of_rf64_is_in_ds64(read):
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, 6 << 32, 0, 0))
    content = wav(sizes, FMT, b"data" + b"\xff" * 4 + b"abcd", form=b"RF64")
    assert read(content) == (6 << 32, 4)


def test_rf64_without_ds64_declares_nothing(read):
    assert read(wav(FMT, b"data" + b"\xff" * 4 + b"abcd", form=b"RF64")) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\x04\0\0\0WAVE",
        wav(FMT),
        wav(FMT, b"dat"),
        wav(chunk(b"ds64", b"short"), FMT, form=b"RF64"),
        b"fLaC" + bytes(40),
        b"OggS" + bytes(40),
        b"RIFF" + bytes(4) + b"AVI " + bytes(40),
        b"plain text, long enough for a header",
    ],
)
def test_files_without_an_audio_chunk_declare_nothing(read, content):
    assert read(content) is None


@pytest.mark.timeout(60)
def test_a_file_of_empty_chunks_is_read_in_bounded_time(read):
    assert read(wav(chunk(b"junk", b"") * 200_000)) is None


def check_result(content, result):
    if result is not None:
        declared, present = result
        assert 0 <= present <= min(declared, len(content))


headers = st.sampled_from([b"", wav(), wav(FMT), wav(form=b"RF64"), b"FORM\0\0\0\0AIFF"])
names = st.sampled_from([b"data", b"SSND", b"ds64", b"fmt ", b"LIST"])
sizes = st.binary(min_size=4, max_size=4)
chunks = st.tuples(names, sizes, st.binary(max_size=40)).map(b"".join)


@given(st.tuples(headers, chunks, chunks, st.binary(max_size=60)).map(b"".join))
def test_any_chunks_give_a_valid_result(read, content):
    check_result(content, read(content))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_valid_result(read, content):
    check_result(content, read(content))
