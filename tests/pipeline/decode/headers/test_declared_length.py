"""Tests of declared_length through `ClipReader`: the effect of damage on each format.

A file that is shorter than it declares is an error; within the tolerance it is decoded short.
A file of unknown length that lacks its end is decoded short.
"""

import random

import av
import numpy as np
import pytest
import soundfile

from pipeline.decode.headers.declared_length import DeclaredLength, read_declared_length
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader

RATE_HZ = 32_000
SECONDS = 20


def encode(path, codec, pcm, **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="mono", bit_rate=64_000)
        to_codec = av.AudioResampler(format=stream.codec_context.format, rate=RATE_HZ)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        for each in (*to_codec.resample(frame), None):
            for packet in stream.encode(each):
                container.mux(packet)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, noise):
    """Twenty seconds of noise in each format, as bytes by name."""
    folder = tmp_path_factory.mktemp("whole")
    pcm = noise(SECONDS * RATE_HZ)
    for container in ("WAV", "RF64", "AIFF", "FLAC"):
        soundfile.write(folder / container.lower(), pcm, RATE_HZ, "PCM_16", format=container)
    with soundfile.SoundFile(folder / "vorbis", "w", RATE_HZ, 1, "VORBIS", format="OGG") as file:
        for second in np.split(pcm, SECONDS):
            file.write(second)
    with soundfile.SoundFile(folder / "opus", "w", 48_000, 1, "OPUS", format="OGG") as file:
        for second in np.split(noise(SECONDS * 48_000), SECONDS):
            file.write(second)
    encode(folder / "mp3.mp3", "libmp3lame", pcm)
    encode(folder / "untagged.mp3", "libmp3lame", pcm, write_xing="0")
    encode(folder / "m4a.m4a", "aac", pcm, movflags="faststart")
    return {path.name.partition(".")[0]: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def outcome(tmp_path, listed):
    """A function that returns the outcome of decoding bytes: an error class, `short` or `whole`."""

    def decode(content, tolerance=0.01):
        path = tmp_path / "clip"
        path.write_bytes(content)
        reader = clip_reader(clip_recording(listed(path)), Limits(short_tolerance=tolerance))
        try:
            n_samples = sum(map(len, reader.pieces()))
        except ClipError as error:
            return error.error_class
        assert n_samples
        return "short" if reader.decoded_short else "whole"

    return decode


def cut(content, share):
    return content[: round(share * len(content))]


def overwritten(content, share, n_bytes, fill=None):
    """Return the content with `n_bytes` replaced by noise or one value, from a share of it on."""
    at = round(share * len(content))
    noise = random.Random(7).randbytes(n_bytes)
    return content[:at] + (noise if fill is None else fill * n_bytes) + content[at + n_bytes :]


FORMATS = ("wav", "rf64", "aiff", "flac", "mp3", "untagged", "vorbis", "opus", "m4a")
DECLARING = ("wav", "rf64", "aiff", "flac", "mp3", "m4a")


@pytest.mark.parametrize("name", FORMATS)
def test_a_complete_file_is_whole(whole, outcome, name):
    assert outcome(whole[name], tolerance=0) == "whole"


@pytest.mark.parametrize("name", DECLARING)
def test_a_file_cut_in_half_is_truncated(whole, outcome, name):
    assert outcome(cut(whole[name], 0.5)) == "truncated"


@pytest.mark.parametrize("name", DECLARING)
def test_the_tolerance_is_the_share_that_may_be_missing(whole, outcome, name):
    # The AAC decoder may stop at a truncated packet, which is a different error.
    kept = cut(whole[name], 0.97)
    assert outcome(kept, tolerance=0.01) == "truncated"
    if name != "m4a":
        assert outcome(kept, tolerance=0.05) == "short"
        assert outcome(cut(whole[name], 0.5), tolerance=1) == "short"


@pytest.mark.parametrize("name", ["vorbis", "opus"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_an_ogg_without_its_end_is_short(whole, outcome, name, share):
    assert outcome(cut(whole[name], share), tolerance=0) == "short"


@pytest.mark.parametrize("name", ["vorbis", "opus"])
def test_an_ogg_with_a_gap_is_shorter_than_its_last_page_declares(whole, outcome, name):
    # Decoders skip pages with a wrong checksum; a page holds about a second.
    assert outcome(overwritten(whole[name], 0.5, 20_000)) == "truncated"
    assert outcome(overwritten(whole[name], 0.5, 20), tolerance=0.5) == "short"


def test_an_ogg_recorded_from_the_middle_of_a_stream_is_whole(whole, outcome):
    # The pages of the first ten seconds are missing, except those with the codec headers.
    content = whole["vorbis"]
    pages = [page for page in content.split(b"OggS") if page]
    headers, audio = pages[:2], pages[2:]
    recorded = b"".join(b"OggS" + page for page in (*headers, *audio[len(audio) // 2 :]))
    assert outcome(recorded) == "whole"


def test_an_mp3_with_fewer_frames_than_its_tag_counts_is_truncated(whole, outcome):
    # libmpg123 stops after a kilobyte without a frame; some builds report no error.
    assert outcome(overwritten(whole["mp3"], 0.5, 4000, b"\0")) in ("truncated", "undecodable")
    without_middle = cut(whole["mp3"], 0.5) + whole["mp3"][round(0.6 * len(whole["mp3"])) :]
    assert outcome(without_middle) == "truncated"


def test_an_untagged_mp3_that_ends_inside_a_frame_is_short(whole, outcome):
    assert outcome(cut(whole["untagged"], 0.5), tolerance=0) == "short"


def test_an_mp3_whose_tag_counts_its_own_frame_is_whole(whole, outcome):
    content = bytearray(whole["mp3"])
    at = content.index(b"Info") + 8
    content[at : at + 4] = (int.from_bytes(content[at : at + 4], "big") + 1).to_bytes(4, "big")
    assert outcome(content, tolerance=0) == "whole"


def test_an_mp4_without_its_index_cannot_be_decoded(whole, outcome):
    content = whole["m4a"]
    at = content.index(b"moov") - 4
    assert outcome(content[:at]) == "undecodable"


def test_declared_length_of_each_container(whole, tmp_path):
    whole = dict(whole)

    def declared(name):
        (tmp_path / name).write_bytes(whole[name])
        with open(tmp_path / name, "rb") as file:
            return read_declared_length(file)

    n_samples = SECONDS * RATE_HZ
    assert declared("wav") == DeclaredLength(2 * n_samples, 2 * n_samples, "bytes of audio")
    assert declared("mp3") == DeclaredLength(n_samples, tolerance=1152)
    assert declared("vorbis") == declared("opus") == DeclaredLength(None)
    whole["vorbis"] = whole["vorbis"][:-1]
    assert declared("vorbis") == DeclaredLength(None, is_cut=True)
    assert declared("flac") is declared("untagged") is declared("m4a") is None
