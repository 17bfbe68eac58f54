"""`clip_decoder`: every format gives the signal it was made from, or the error it deserves."""

import dataclasses
import math
import os

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decode.audio_stream import PIECE_FRAMES
from pipeline.decode.open_audio import open_audio
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader, down_mix

RATE_HZ = 32_000
DURATION_S = 1.5

# name: (format and subtype of libsndfile, or codec of FFmpeg; rate; channels; correlation)
FORMATS = {
    "u8.wav": ("WAV", "PCM_U8", 8_000, 1, 0.999),
    "s16.wav": ("WAV", "PCM_16", 44_100, 2, 0.9999),
    "s24.wav": ("WAV", "PCM_24", 96_000, 1, 0.9999),
    "float.wav": ("WAV", "FLOAT", 32_000, 1, 0.9999),
    "a.flac": ("FLAC", "PCM_16", 44_100, 2, 0.9999),
    "a.aiff": ("AIFF", "PCM_16", 22_050, 1, 0.9999),
    "a.ogg": ("OGG", "VORBIS", 44_100, 1, 0.99),
    "a.mp3": ("MP3", "MPEG_LAYER_III", 44_100, 1, 0.99),
    # libsndfile spoils the last 20 ms of the Opus files that it writes.
    "a.opus": ("OGG", "OPUS", 48_000, 1, 0.98),
    "a.m4a": ("av", "aac", 44_100, 2, 0.99),
    "a.webm": ("av", "libopus", 48_000, 2, 0.99),
}


def chirp(rate_hz, duration_s=DURATION_S):
    """From 200 Hz to 1.4 kHz, swelling: no part of it is like another."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    swell = 0.6 + 0.4 * np.cos(2 * np.pi * 1.3 * t)
    return (0.5 * swell * np.sin(2 * np.pi * (200 + 400 * t) * t)).astype(np.float32)


def write_by_ffmpeg(path, codec, pcm, rate_hz):
    layout = {1: "mono", 2: "stereo"}[pcm.shape[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        planes = np.ascontiguousarray(pcm.T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The chirp in every format."""
    folder = tmp_path_factory.mktemp("formats")
    for name, (form, codec, rate_hz, channels, _) in FORMATS.items():
        pcm = np.repeat(chirp(rate_hz)[:, None], channels, axis=1)
        if form == "av":
            write_by_ffmpeg(folder / name, codec, pcm, rate_hz)
        else:
            soundfile.write(folder / name, pcm, rate_hz, subtype=codec, format=form)
    return folder


@pytest.fixture
def refused(listed):
    """The error that a file ends in."""

    def run(path):
        with pytest.raises(ClipError) as raised:
            for _ in clip_reader(clip_recording(listed(path))).pieces():
                pass
        assert str(path) in raised.value.message
        return raised.value.stage, raised.value.error_class

    return run


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_signal_it_was_made_from(files, decoded, name):
    _, _, rate_hz, channels, correlation = FORMATS[name]
    samples, reader = decoded(files / name)
    expected = chirp(RATE_HZ)
    assert (reader.sample_rate_hz, reader.channels) == (rate_hz, channels)
    assert not reader.decoded_short
    assert samples.dtype == np.float32
    assert len(samples) == len(expected)
    assert np.corrcoef(samples, expected)[0, 1] > correlation


def test_32_khz_float_passes_bit_exactly(files, decoded):
    samples, _ = decoded(files / "float.wav")
    assert samples.tobytes() == chirp(RATE_HZ).tobytes()


def test_pieces_stay_small_at_the_lowest_rates(tmp_path, listed):
    # 40,000 samples at 100 Hz make 320 times as many: 12.8 million, and soxr holds a few back.
    soundfile.write(tmp_path / "a.wav", np.full(40_000, 0.1), 100)
    lengths = [
        len(piece) for piece in clip_reader(clip_recording(listed(tmp_path / "a.wav"))).pieces()
    ]
    assert sum(lengths) == 320 * 40_000
    assert max(lengths) < 8 * PIECE_FRAMES


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_surround_becomes_the_mean_of_its_channels(tmp_path, decoded, noise, form):
    pcm = noise(6 * 5000).reshape(-1, 6)
    soundfile.write(tmp_path / "a", pcm, RATE_HZ, format=form, subtype="PCM_24")
    samples, reader = decoded(tmp_path / "a")
    assert reader.channels == 6
    np.testing.assert_allclose(samples, pcm.mean(axis=1), rtol=0, atol=1e-6)


def test_down_mix_leaves_its_input_alone():
    frames = np.array([[1, 2, 6], [0, 0, 3]], np.float32)
    assert down_mix(frames).tolist() == [3, 1]
    assert frames.tolist() == [[1, 2, 6], [0, 0, 3]]


def test_video_is_decoded_for_its_sound_and_refused_without(tmp_path, refused):
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    assert refused(tmp_path / "silent.mp4") == ("decode", "no_audio")


def test_a_codec_that_no_decoder_knows(tmp_path, refused, noise):
    soundfile.write(tmp_path / "a.wav", noise(1000), RATE_HZ, subtype="PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[20:22] = b"\x34\x12"  # the format tag
    (tmp_path / "a.wav").write_bytes(content)
    assert refused(tmp_path / "a.wav") == ("decode", "undecodable")


def test_an_empty_file(tmp_path, refused):
    (tmp_path / "a.wav").touch()
    assert refused(tmp_path / "a.wav") == ("read", "empty")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_text_with_an_audio_name(tmp_path, refused, name):
    (tmp_path / name).write_text("Dear diary, no music today.\n" * 50)
    assert refused(tmp_path / name) == ("decode", "undecodable")


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "AIFF", "FLAC"])
def test_a_file_cut_in_half(tmp_path, refused, noise, form):
    soundfile.write(tmp_path / "a", noise(40_000), RATE_HZ, format=form, subtype="PCM_16")
    cut_in_half(tmp_path / "a")
    assert refused(tmp_path / "a") == ("decode", "truncated")


def test_a_wav_short_by_less_than_a_hundredth_is_decoded_short(tmp_path, decoded, noise):
    pcm = noise(40_000)
    soundfile.write(tmp_path / "a.wav", pcm, RATE_HZ, subtype="FLOAT")
    # 4 bytes a sample: 300 of 40,000 samples, 0.75 %.
    os.truncate(tmp_path / "a.wav", (tmp_path / "a.wav").stat().st_size - 4 * 300)
    samples, reader = decoded(tmp_path / "a.wav")
    assert reader.decoded_short
    assert samples.tolist() == pcm[:-300].tolist()


def test_a_wav_written_to_a_pipe_is_whole(tmp_path, decoded, noise):
    pcm = noise(40_000)
    soundfile.write(tmp_path / "a.wav", pcm, RATE_HZ, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    size_at = content.index(b"data") + 4
    streamed = content[:size_at] + b"\xff" * 4 + content[size_at + 4 :]
    (tmp_path / "a.wav").write_bytes(streamed)
    samples, reader = decoded(tmp_path / "a.wav")
    assert not reader.decoded_short
    assert samples.tolist() == pcm.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_not_a_number(tmp_path, listed, noise, value):
    pcm = noise(PIECE_FRAMES + 1000)
    pcm[-10] = value
    soundfile.write(tmp_path / "a.wav", pcm, RATE_HZ, subtype="FLOAT")
    with pytest.raises(ClipError, match=f"sample {len(pcm) - 10} is NaN or infinite") as raised:
        list(clip_reader(clip_recording(listed(tmp_path / "a.wav"))).pieces())
    assert raised.value.error_class == "non_finite"


def test_opposite_infinities_in_two_channels(tmp_path, refused):
    pcm = np.zeros((1000, 2), np.float32)
    pcm[500] = np.inf, -np.inf
    soundfile.write(tmp_path / "a.wav", pcm, RATE_HZ, subtype="FLOAT")
    assert refused(tmp_path / "a.wav") == ("decode", "non_finite")


def test_a_wav_of_no_samples(tmp_path, refused):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE_HZ)
    assert refused(tmp_path / "a.wav") == ("decode", "empty")


def test_too_few_samples_to_make_one_at_32_khz(tmp_path, refused):
    soundfile.write(tmp_path / "a.wav", np.zeros(1), 192_000)
    assert refused(tmp_path / "a.wav") == ("decode", "empty")


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_clip_whose_header_says_too_long_is_not_decoded(tmp_path, listed, noise, form):
    soundfile.write(tmp_path / "a", noise(3 * PIECE_FRAMES), RATE_HZ, "PCM_16", format=form)
    reader = clip_reader(clip_recording(listed(tmp_path / "a")), Limits(max_clip_s=12.25))
    told = r"12\.3 s \(its header says\), more than the 12\.25 s .* raise --max-clip-s"
    with pytest.raises(ClipError, match=told) as raised:
        next(reader.pieces())
    assert (raised.value.stage, raised.value.error_class) == ("decode", "too_long")


def test_a_clip_that_does_not_say_its_length_is_decoded_to_the_limit(tmp_path, listed, noise):
    write_by_ffmpeg(tmp_path / "a.webm", "libopus", noise(20 * 48_000)[:, None], 48_000)
    reader = clip_reader(clip_recording(listed(tmp_path / "a.webm")), Limits(max_clip_s=3.0))
    lengths = []
    with pytest.raises(ClipError, match="decoded so far, and not at its end") as raised:
        lengths.extend(map(len, reader.pieces()))
    assert raised.value.error_class == "too_long"
    assert sum(lengths) <= 3 * RATE_HZ


def test_a_clip_of_exactly_the_limit_is_embedded(tmp_path, listed, noise):
    soundfile.write(tmp_path / "a.wav", noise(RATE_HZ), RATE_HZ)
    reader = clip_reader(clip_recording(listed(tmp_path / "a.wav")), Limits(max_clip_s=1.0))
    assert sum(len(piece) for piece in reader.pieces()) == RATE_HZ


def test_the_lowest_rate_is_no_way_round_the_limit(tmp_path, listed):
    # 9,000,000 samples in 9 MB, of which the resampler would make 2,880,000,000.
    soundfile.write(tmp_path / "a.wav", np.zeros(9_000_000), 100, "PCM_U8")
    with pytest.raises(ClipError) as raised:
        next(clip_reader(clip_recording(listed(tmp_path / "a.wav"))).pieces())
    assert raised.value.error_class == "too_long"


def test_a_file_of_more_bytes_than_allowed_is_not_read(tmp_path, write_clip):
    ref = write_clip(tmp_path / "a.wav", 1000)
    size = (tmp_path / "a.wav").stat().st_size
    assert next(clip_reader(clip_recording(ref), Limits(max_clip_bytes=size)).pieces()).size == 1000
    told = f"{size} bytes, more than the {size - 1} .* raise --max-clip-bytes"
    with pytest.raises(ClipError, match=told) as raised:
        next(clip_reader(clip_recording(ref), Limits(max_clip_bytes=size - 1)).pieces())
    assert (raised.value.stage, raised.value.error_class) == ("read", "too_large")


def test_a_missing_file_and_a_link_to_one(tmp_path, refused):
    (tmp_path / "link.wav").symlink_to("nowhere.wav")
    assert refused(tmp_path / "gone.wav") == ("read", "missing")
    assert refused(tmp_path / "link.wav") == ("read", "missing")


@pytest.mark.timeout(20)
def test_folders_and_pipes_are_not_files(tmp_path, refused):
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(tmp_path / "folder.wav") == ("read", "not_a_file")
    assert refused(tmp_path / "pipe.wav") == ("read", "not_a_file")


def test_a_loop_of_links(tmp_path, refused):
    (tmp_path / "a.wav").symlink_to("a.wav")
    assert refused(tmp_path / "a.wav") == ("read", "unreadable")


def test_a_file_that_changed_since_it_was_listed(tmp_path, write_clip):
    ref = write_clip(tmp_path / "a.wav", 1000)
    write_clip(tmp_path / "a.wav", 1001)
    with pytest.raises(ClipError, match="changed since it was listed") as raised:
        list(clip_reader(clip_recording(ref)).pieces())
    assert (raised.value.stage, raised.value.error_class) == ("read", "changed")


def test_names_of_any_bytes_are_read(tmp_path, decoded, write_clip):
    path = tmp_path / os.fsdecode(b"caf\xe9\n'.wav")
    write_clip(tmp_path / "a.wav", 1000)
    (tmp_path / "a.wav").rename(path)
    assert len(decoded(path)[0]) == 1000


# Mostly in the first bytes, where headers are; of a longer file than this, modulo its length.
places = st.one_of(st.integers(0, 80), st.integers(0, 1 << 20))
CLASSES = (
    *("undecodable", "truncated", "empty", "no_audio", "non_finite", "too_long", "unread_audio"),
    *("implausible_length", "sample_rate_too_low", "too_much_memory"),
)
ERRORS = {("read", "empty"), *(("decode", error_class) for error_class in CLASSES)}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FORMATS)
# The same examples every time: a crash of a codec found by chance is theirs to be told, not ours.
@settings(max_examples=60, derandomize=True)
@given(
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    changes=st.lists(st.tuples(places, st.integers(0, 255)), max_size=6),
    garbage=st.binary(max_size=100),
)
def test_any_content_ends_in_samples_or_a_clip_error(
    tmp_path_factory, files, listed, name, kept, changes, garbage
):
    content = bytearray((files / name).read_bytes())
    content = content[: round(kept * len(content))]
    for place, value in changes if content else ():
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / f"damaged {name}"
    path.write_bytes(content + garbage)
    # A damaged rate can make hours of it.
    reader = clip_reader(clip_recording(listed(path)), Limits(max_clip_s=60.0))
    n_samples, problem = 0, None
    try:
        for piece in reader.pieces():
            n_samples += len(piece)
    except ClipError as error:
        problem = error
    if problem:
        assert (problem.stage, problem.error_class) in ERRORS
        assert str(path) in problem.message
        return
    assert 0 < n_samples <= 61 * RATE_HZ
    assert np.isfinite(list(dataclasses.astuple(reader.quality))).all()


@pytest.mark.parametrize("name", ["s16.wav", "a.flac", "a.mp3", "a.ogg"])
@pytest.mark.parametrize("span", [(0.25, 0.75), (1.0, DURATION_S), (0.5, math.inf)])
def test_a_span_is_a_file_of_its_own(files, decoded, listed, tmp_path, name, span):
    ref = dataclasses.replace(listed(files / name), member="t=", span=span)
    reader = clip_reader(clip_recording(ref))
    part = np.concatenate(list(reader.pieces()))
    with open(files / name, "rb") as file, open_audio(file) as sound:
        rate_hz, frames = sound.sample_rate_hz, np.concatenate(list(sound.pieces))
    end = min(len(frames), span[1] * rate_hz)
    cut = frames[round(span[0] * rate_hz) : round(end)]
    soundfile.write(tmp_path / "cut.wav", cut, rate_hz, subtype="FLOAT")
    expected, of_file = decoded(tmp_path / "cut.wav")
    assert part.tobytes() == expected.tobytes()
    assert reader.quality == of_file.quality
    assert not reader.decoded_short


def test_a_span_behind_the_end_is_empty(files, listed):
    ref = dataclasses.replace(listed(files / "s16.wav"), span=(DURATION_S, 2 * DURATION_S))
    with pytest.raises(
        ClipError, match=r"ends at 1\.500 s, before the clip's start at 1\.500 s"
    ) as e:
        list(clip_reader(clip_recording(ref)).pieces())
    assert (e.value.stage, e.value.error_class) == ("decode", "empty_span")


def test_a_span_that_ends_behind_the_recording_is_short_or_an_error(files, listed):
    ref = dataclasses.replace(listed(files / "s16.wav"), span=(1.0, 2.0))
    told = r"ends at 1\.500 s, before the clip's end at 2\.000 s; .* --short-tolerance"
    with pytest.raises(ClipError, match=told) as raised:
        list(clip_reader(clip_recording(ref)).pieces())
    assert (raised.value.stage, raised.value.error_class) == ("decode", "span_past_end")
    reader = clip_reader(clip_recording(ref), Limits(short_tolerance=0.5))
    assert sum(map(len, reader.pieces())) == RATE_HZ // 2
    assert reader.decoded_short


@pytest.mark.parametrize("name", FORMATS)
def test_a_span_that_ends_with_the_recording_is_whole(files, listed, name):
    ref = dataclasses.replace(listed(files / name), span=(0.5, DURATION_S))
    reader = clip_reader(clip_recording(ref))
    assert sum(map(len, reader.pieces())) == pytest.approx(RATE_HZ, abs=200)
    assert not reader.decoded_short


def test_limits_are_held_against_the_span(files, listed):
    ref = dataclasses.replace(listed(files / "s16.wav"), span=(0.5, 1.0))
    assert (
        sum(map(len, clip_reader(clip_recording(ref), Limits(max_clip_s=0.5)).pieces()))
        == RATE_HZ // 2
    )
    with pytest.raises(ClipError, match=r"more than the 0\.4 s"):
        list(clip_reader(clip_recording(ref), Limits(max_clip_s=0.4)).pieces())


def test_damage_behind_a_span_does_not_matter(files, listed, tmp_path):
    path = tmp_path / "cut.wav"
    path.write_bytes((files / "s16.wav").read_bytes()[:-20_000])
    whole = clip_reader(clip_recording(listed(path)))
    with pytest.raises(ClipError, match="the header promises"):
        list(whole.pieces())
    span = dataclasses.replace(listed(path), span=(0.1, 0.3))
    reader = clip_reader(clip_recording(span))
    assert sum(map(len, reader.pieces())) == round(0.2 * RATE_HZ)
    assert not reader.decoded_short
