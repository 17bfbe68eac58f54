"""`riff`: the size that WAV and AIFF headers promise, against what is there."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.riff import read_riff_length

N_FRAMES, CHANNELS = 1001, 2
# 16 bits a sample; an AIFF sound chunk opens with 8 bytes of offset and block size.
PCM_BYTES = N_FRAMES * CHANNELS * 2
AUDIO_BYTES = {
    ("WAV", "FILE"): PCM_BYTES,
    ("WAVEX", "FILE"): PCM_BYTES,
    ("RF64", "FILE"): PCM_BYTES,
    ("AIFF", "FILE"): 8 + PCM_BYTES,
    ("AIFF", "LITTLE"): 8 + PCM_BYTES,  # which makes it an AIFC
}


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """What is promised and present in a file of these bytes."""
    path = tmp_path_factory.mktemp("chunks") / "file"

    def of(content):
        path.write_bytes(content)
        with open(path, "rb") as file:
            return read_riff_length(file)

    return of


@pytest.fixture(params=AUDIO_BYTES, ids="-".join)
def whole(request, tmp_path):
    """A file of libsndfile's, and how much audio it holds."""
    form, endian = request.param
    path = tmp_path / "whole"
    pcm = np.ones((N_FRAMES, CHANNELS), np.int16)
    soundfile.write(path, pcm, 44_100, subtype="PCM_16", format=form, endian=endian)
    return path.read_bytes(), AUDIO_BYTES[request.param]


def chunk(name, body, order="<"):
    return name + struct.pack(order + "I", len(body)) + body + bytes(len(body) % 2)


def wav(*chunks, form=b"RIFF"):
    return form + struct.pack("<I", 0xFFFF_FFFF) + b"WAVE" + b"".join(chunks)


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 32_000, 64_000, 2, 16))


def test_a_whole_file_holds_what_it_promises(whole, look):
    content, audio_bytes = whole
    assert look(content) == (audio_bytes, audio_bytes)


@pytest.mark.parametrize("lost", [1, 100, PCM_BYTES // 2, PCM_BYTES])
def test_a_cut_file_lacks_what_was_cut(whole, look, lost):
    content, audio_bytes = whole
    # libsndfile writes nothing after the audio but the byte that makes its length even, and
    # 4004 (+ 8) is even already; a header may have chunks of its own kind after it, so none here.
    assert look(content[: len(content) - lost]) == (audio_bytes, audio_bytes - lost)


def test_chunks_behind_the_audio_are_not_audio(look):
    assert look(wav(FMT, chunk(b"data", b"abcd"), chunk(b"LIST", b"x" * 99))) == (4, 4)


def test_a_chunk_of_odd_size_is_followed_by_a_filling_byte(look):
    assert look(wav(FMT, chunk(b"LIST", b"odd"), chunk(b"junk", b""), chunk(b"data", b"ab"))) == (
        2,
        2,
    )


@pytest.mark.parametrize("size", [0, 0x7FFF_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_sizes_that_writers_to_a_pipe_leave_promise_nothing(look, size):
    assert look(wav(FMT, b"data" + struct.pack("<I", size) + b"abcd")) is None


def test_rf64_takes_its_size_from_ds64(look):
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, 6 << 32, 0, 0))
    content = wav(sizes, FMT, b"data" + b"\xff" * 4 + b"abcd", form=b"RF64")
    assert look(content) == (6 << 32, 4)


def test_rf64_without_its_sizes_promises_nothing(look):
    assert look(wav(FMT, b"data" + b"\xff" * 4 + b"abcd", form=b"RF64")) is None


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
def test_files_that_do_not_say_promise_nothing(look, content):
    assert look(content) is None


@pytest.mark.timeout(60)
def test_a_file_of_empty_chunks_does_not_take_for_ever(look):
    assert look(wav(chunk(b"junk", b"") * 200_000)) is None


def check_answer(content, answer):
    if answer is not None:
        promised, present = answer
        assert 0 <= present <= min(promised, len(content))


heads = st.sampled_from([b"", wav(), wav(FMT), wav(form=b"RF64"), b"FORM\0\0\0\0AIFF"])
names = st.sampled_from([b"data", b"SSND", b"ds64", b"fmt ", b"LIST"])
sizes = st.binary(min_size=4, max_size=4)
chunks = st.tuples(names, sizes, st.binary(max_size=40)).map(b"".join)


@given(st.tuples(heads, chunks, chunks, st.binary(max_size=60)).map(b"".join))
def test_any_chunks_give_an_answer(look, content):
    check_answer(content, look(content))


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(look, content):
    check_answer(content, look(content))
