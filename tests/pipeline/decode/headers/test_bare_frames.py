"""Tests of bare_frames: counting the frames of files without a container."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers import bare_frames as module
from pipeline.decode.headers.bare_frames import find_bare_frames
from tests.pipeline.decode.damaged_audio import sound, wav
from tests.pipeline.decode.damaged_bare import WHOLE, adts
from tests.pipeline.decode.damaged_mp3 import noise, untagged
from tests.pipeline.decode.encoding import encoded


def count(content, **options):
    return find_bare_frames(io.BytesIO(content), **options)


@pytest.mark.parametrize(
    ("codec", "container", "rate_hz", "bit_rate"),
    [
        ("aac", "adts", 44_100, 128_000),
        ("aac", "adts", 8_000, 16_000),
        ("ac3", "ac3", 48_000, 64_000),
        ("ac3", "ac3", 44_100, 192_000),
        ("ac3", "ac3", 32_000, 640_000),
        ("eac3", "eac3", 44_100, 96_000),
        ("mp2", "mp2", 48_000, 192_000),
        ("mp2", "mp2", 44_100, 64_000),
        ("mp2", "mp2", 22_050, 32_000),
    ],
)
def test_frames_of_real_encoders_are_counted(codec, container, rate_hz, bit_rate):
    content = encoded(sound(2.0, rate_hz), codec, container, rate_hz, bit_rate)
    frames = count(content)
    assert frames is not None
    assert (frames.end, frames.n_gaps, frames.is_cut) == (len(content), 0, False)
    assert frames.n_samples / rate_hz == pytest.approx(2.0, abs=0.3)
    assert frames.rate_hz in (0, rate_hz)


@pytest.mark.parametrize("block_bytes", [1 << 20, 5000])
@pytest.mark.parametrize("name", WHOLE)
def test_block_size_does_not_change_the_result(monkeypatch, name, block_bytes):
    content = WHOLE[name]()
    damaged = content[:3000] + noise(500) + content[3500:]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_BLOCK_BYTES", block_bytes)
        results = [
            count(each) for each in (content, damaged, content + noise(30_001), content[:-3])
        ]
    assert results == [
        count(each) for each in (content, damaged, content + noise(30_001), content[:-3])
    ]
    assert results[1] is not None
    assert results[1].n_gaps == 1


@pytest.mark.parametrize("content", [b"", b"\xff", wav(bytes(100)), untagged(), noise(9000)])
def test_other_formats_have_no_bare_frames(content):
    assert count(content) is None


def test_files_larger_than_the_limit_are_not_counted():
    assert count(adts(), max_bytes=1000) is None


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 3000), st.binary(max_size=60))
def test_any_bytes_give_a_valid_result(name, kept, garbage):
    content = WHOLE[name]()[:kept] + garbage
    frames = count(content)
    assert frames is None or 0 <= frames.end <= len(content)
