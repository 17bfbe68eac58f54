"""Of several audio tracks the default one is taken, or else the first that can be decoded."""

from functools import partial

import av
import numpy as np
import pytest

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.decode.probe import probe_audio
from pipeline.errors import ClipError
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader

RATE_HZ = 16_000
TONES_HZ = (500, 1500, 2500)
DURATIONS_S = (1.0, 2.0, 3.0)
DEFAULT = av.stream.Disposition.default


@pytest.fixture
def tracks(tmp_path):
    """Makes a file of several audio tracks."""
    return partial(make_tracks, tmp_path / "tracks")


def make_tracks(path, container, codecs, default=None, **options):
    """Return a file with a tone in each track: each has its own pitch and its own length."""
    with av.open(str(path), "w", format=container, options=options) as output:
        streams = [output.add_stream(codec, rate=RATE_HZ, layout="mono") for codec in codecs]
        for n, stream in enumerate(streams):
            stream.disposition = DEFAULT if n == default else 0
        for stream, pitch_hz, duration_s in zip(streams, TONES_HZ, DURATIONS_S, strict=False):
            times = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
            tone = (10_000 * np.sin(2 * np.pi * pitch_hz * times)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, 0
            to_codec = av.AudioResampler(format=stream.codec_context.format, rate=RATE_HZ)
            for each in (*to_codec.resample(frame), None):
                for packet in stream.encode(each):
                    output.mux(packet)
    return path.read_bytes()


@pytest.fixture
def track_of(tmp_path, listed):
    """Which track of a file is decoded, by its pitch; plan must find its length."""

    def find(content, span=None):
        (tmp_path / "file").write_bytes(content)
        ref = listed(tmp_path / "file")
        if span:
            ref = ref.__class__(ref.uri, ref.version, "part", span=span)
        pcm = np.concatenate(list(clip_reader(clip_recording(ref)).pieces()))
        spectrum = np.abs(np.fft.rfft(pcm))
        pitch_hz = np.argmax(spectrum) * SAMPLE_RATE_HZ / len(pcm)
        found = int(np.argmin([abs(pitch_hz - each) for each in TONES_HZ]))
        if not span:
            assert len(pcm) / SAMPLE_RATE_HZ == pytest.approx(DURATIONS_S[found], abs=0.15)
            with open(tmp_path / "file", "rb") as file:
                header = probe_audio(file)
            if header.is_exact:
                assert header.n_frames == pytest.approx(DURATIONS_S[found] * RATE_HZ, abs=2048)
        return found

    return find


@pytest.mark.parametrize("container", ["ipod", "matroska"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_track_is_decoded(tracks, track_of, container, default):
    assert track_of(tracks(container, ["aac"] * 3, default)) == default
    assert track_of(tracks(container, ["aac"] * 3, default), span=(0.2, 0.6)) == default


@pytest.mark.parametrize("container", ["ipod", "matroska"])
def test_without_a_default_the_first_track_is_decoded(tracks, track_of, container):
    assert track_of(tracks(container, ["aac", "aac"])) == 0


def with_unknown_codec(content, nth):
    """The content with the codec of one track of a QuickTime file renamed to one nobody knows."""
    at = -1
    for _ in range(nth + 1):
        at = content.index(b"sowt", at + 1)
    return content[:at] + b"zzzz" + content[at + 4 :]


def test_a_track_of_an_unknown_codec_is_passed_over(tracks, track_of):
    # Faststart: the description of the tracks comes before any bytes that could look like it.
    content = tracks("mov", ["pcm_s16le"] * 3, 0, movflags="faststart")
    assert track_of(content) == 0
    assert track_of(with_unknown_codec(content, 0)) == 1
    content = tracks("mov", ["pcm_s16le"] * 3, 1, movflags="faststart")
    assert track_of(with_unknown_codec(content, 0)) == 1
    assert track_of(with_unknown_codec(content, 1)) == 0


def test_a_default_track_of_a_codec_that_cannot_be_set_up_is_passed_over(tracks, track_of):
    content = tracks("matroska", ["aac", "pcm_s16le"], 0)
    at = content.index(b"A_AAC")
    assert track_of(content) == 0
    assert track_of(content[:at] + b"A_ZZZ" + content[at + 5 :]) == 1


def test_a_file_of_which_no_track_can_be_decoded_is_undecodable(tracks, track_of):
    content = tracks("mov", ["pcm_s16le"] * 2, 0, movflags="faststart")
    with pytest.raises(ClipError, match="has no decoder for its codec") as caught:
        track_of(with_unknown_codec(with_unknown_codec(content, 0), 0))
    assert caught.value.error_class == "undecodable"
