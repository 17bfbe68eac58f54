"""Parts of a recording, cut or from a decoder, are bit by bit what they are in all of it."""

import contextlib
import math

import av
import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.clips import ClipRef
from pipeline.decode.frame_range import FrameRange
from pipeline.decode.open_audio import DECODER_ERRORS, open_audio
from pipeline.decode.shared_decoder import SharedDecoder
from pipeline.errors import ClipError
from pipeline.io.versions import stat_version
from pipeline.limits import DEFAULT_LIMITS
from pipeline.readers.shard_reader import clip_recordings
from pipeline.stream.clip_decoder import ClipReader, open_clips

RATE_HZ = 44_100
DURATION_S = 12.0
BY_LIBSNDFILE = {
    "s16.wav": {"subtype": "PCM_16"},
    "float.wav": {"subtype": "FLOAT"},
    "a.flac": {},
    "a.aiff": {},
    "cbr.mp3": {"bitrate_mode": "CONSTANT", "compression_level": 0.99},
    "vbr.mp3": {"bitrate_mode": "VARIABLE", "compression_level": 0.5},
    "a.ogg": {},
}
BY_FFMPEG = {
    "lame.mp3": "libmp3lame",
    "uncounted.mp3": "libmp3lame",  # of variable bit rate: libsndfile reads on behind its guess
    "a.opus": "libopus",
    "a.m4a": "aac",
    "alac.m4a": "alac",
}
SOUGHT = ("s16.wav", "float.wav", "a.flac", "a.aiff", "a.ogg")


def music(n):
    """Stereo noise, softer towards high frequencies, with quiet and loud parts."""
    walk = np.cumsum(np.random.default_rng(0).standard_normal((n + 100, 2)), axis=0)
    noise = (walk[100:] - walk[:-100]) * (1.1 + np.sin(np.arange(n) / 30_000))[:, None]
    return (0.5 * noise / np.abs(noise).max()).astype(np.float32)


def write(path, pcm, **options):
    kind = {"format": "OGG", "subtype": "VORBIS"} if path.suffix == ".ogg" else {}
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, **kind, **options) as file:
        for start in range(0, len(pcm), 1 << 14):  # all at once, Vorbis crashes
            file.write(pcm[start : start + (1 << 14)])


def encode(path, codec, pcm):
    rate_hz = 48_000 if codec == "libopus" else RATE_HZ
    is_counted = path.name != "uncounted.mp3"
    options = {} if is_counted else {"write_xing": "0"}
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        if codec == "libmp3lame":
            stream.bit_rate = 32_000
            stream.options = {"abr": "0" if is_counted else "1"}
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", rate_hz)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm.T), "fltp", "stereo")
        frame.sample_rate, frame.pts = rate_hz, 0
        for each in (*resampler.resample(frame), None):
            for packet in stream.encode(each):
                container.mux(packet)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cutting")
    pcm = music(round(DURATION_S * RATE_HZ))
    for name, options in BY_LIBSNDFILE.items():
        write(folder / name, pcm, **options)
    for name, codec in BY_FFMPEG.items():
        encode(folder / name, codec, pcm)
    return folder


@pytest.fixture(scope="module")
def whole(files):
    """All frames of a file, and its rate; decoded once."""
    known = {}

    def decode(name):
        if name not in known:
            with open(files / name, "rb") as file, open_audio(file) as sound:
                known[name] = np.concatenate(list(sound.pieces)), sound.sample_rate_hz
        return known[name]

    return decode


def cut(path, span):
    """The frames of a span, and where the decoder began."""
    with open(path, "rb") as file, open_audio(file) as sound:
        began = []

        def seek(frame, seek=sound.seek):
            began.append(seek(frame) if seek else 0)
            return began[-1]

        object.__setattr__(sound, "seek", seek)
        pieces = list(FrameRange(span, sound.sample_rate_hz).pieces(sound))
        return np.concatenate([np.zeros((0, sound.channels), np.float32), *pieces]), began


@pytest.mark.parametrize("name", [*BY_LIBSNDFILE, *BY_FFMPEG])
@given(start_s=st.floats(0, DURATION_S + 1), duration_s=st.floats(0.001, 6))
@example(0.0, 1.0)
@example(1.0, math.inf)
@example(DURATION_S - 0.01, 1.0)
@example(1 / RATE_HZ, 1 / RATE_HZ)
@example(5.0, 0.1)
def test_a_span_is_that_part_of_the_whole(files, whole, name, start_s, duration_s):
    frames, rate_hz = whole(name)
    end_s = start_s + duration_s
    part, _ = cut(files / name, (start_s, end_s))
    end = None if end_s == math.inf else round(end_s * rate_hz)
    expected = frames[round(start_s * rate_hz) : end]
    assert part.shape == expected.shape
    assert part.tobytes() == expected.tobytes()


def test_a_file_that_libsndfile_would_end_early_is_among_them(files, whole):
    with soundfile.SoundFile(files / "uncounted.mp3") as sound:
        assert sound.frames < len(whole("uncounted.mp3")[0]) - RATE_HZ


@pytest.mark.parametrize("name", [*BY_LIBSNDFILE, *BY_FFMPEG])
def test_what_can_be_sought_is_not_decoded_from_the_start(files, name):
    _, (began,) = cut(files / name, (9.0, 9.5))
    # Vorbis: a second of run-up, and no more than a page before that.
    assert (7 * RATE_HZ < began <= 9 * RATE_HZ) if name in SOUGHT else began == 0


@pytest.mark.parametrize("name", ["s16.wav", "a.flac", "cbr.mp3", "a.ogg", "a.m4a"])
def test_nothing_is_decoded_far_beyond_the_end(files, name):
    with open(files / name, "rb") as file, open_audio(file) as sound:
        part = FrameRange((0.0, 0.5), sound.sample_rate_hz)
        list(part.pieces(sound))
        assert part.end <= part.position < 4.5 * RATE_HZ


def test_frames_within_a_recording():
    part = FrameRange((1.0, 3.0), 100)
    assert [part.frames_within(n) for n in (0, 100, 150, 300, 400)] == [0, 0, 50, 200, 200]
    assert FrameRange(None, 100).frames_within(7) == 7
    assert FrameRange((0.5, math.inf), 100).frames_within(70) == 20


def open_decoder(path, opens, **options):
    @contextlib.contextmanager
    def open_file(max_bytes):
        opens.append(path)
        with open(path, "rb") as file:
            yield file

    return contextlib.closing(SharedDecoder(open_file, lambda file: None, **options))


def taken(decoder, span):
    with decoder.open_stream(DEFAULT_LIMITS) as (sound, _, _):
        pieces = list(FrameRange(span, sound.sample_rate_hz).pieces(sound))
        return np.concatenate([np.zeros((0, sound.channels), np.float32), *pieces])


@pytest.mark.parametrize("name", [*BY_LIBSNDFILE, *BY_FFMPEG])
@given(
    spans=st.lists(st.tuples(st.floats(0, DURATION_S + 1), st.floats(0.001, 6)), max_size=5),
    buffer_bytes=st.sampled_from([1, 1 << 20]),
)
@settings(max_examples=20)
def test_spans_of_a_shared_decoder_in_any_order_are_parts_of_the_whole(
    files, whole, name, spans, buffer_bytes
):
    frames, rate_hz = whole(name)
    with open_decoder(files / name, [], buffer_bytes=buffer_bytes) as decoder:
        for start_s, duration_s in spans:
            part = taken(decoder, (start_s, start_s + duration_s))
            end = round((start_s + duration_s) * rate_hz)
            assert part.tobytes() == frames[round(start_s * rate_hz) : end].tobytes()


@pytest.mark.parametrize("name", ["cbr.mp3", "lame.mp3", "uncounted.mp3", "a.opus", "a.m4a"])
def test_overlapping_spans_in_order_are_one_run_of_the_decoder(files, name):
    opens = []
    with open_decoder(files / name, opens) as decoder:
        for start_s in np.arange(0, DURATION_S + 2, 0.25):
            taken(decoder, (start_s, start_s + 1.0))
        assert len(opens) == 1
        taken(decoder, (0.0, 0.1))
        assert len(opens) == 1  # it was kept
    with open_decoder(files / name, opens, buffer_bytes=1 << 20) as decoder:
        taken(decoder, (11.0, 12.0))
        taken(decoder, (0.0, 0.1))
    assert len(opens) == 3


def test_spans_behind_damage_fail_alike_and_those_before_it_do_not(files, tmp_path):
    content = bytearray((files / "alac.m4a").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    (tmp_path / "damaged.m4a").write_bytes(content)
    opens = []
    with open_decoder(tmp_path / "damaged.m4a", opens) as decoder:
        assert len(taken(decoder, (0.0, 1.0))) == RATE_HZ
        for start_s in (8.0, 9.0):
            with pytest.raises(DECODER_ERRORS):
                taken(decoder, (start_s, start_s + 1.0))
        assert len(taken(decoder, (0.5, 1.5))) == RATE_HZ
    assert len(opens) == 1


@pytest.mark.parametrize("name", ["a.flac", "cbr.mp3"])
def test_spans_of_what_was_written_into_fail_and_those_before_do_not(files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((files / name).read_bytes())
    version = stat_version(path.stat())
    spans = [ClipRef(str(path), version, f"t={at}", span=(float(at), at + 1.0)) for at in range(4)]
    outcomes = []
    (recording,) = clip_recordings(spans)
    for ref, open_clip in open_clips(recording):
        reader = ClipReader(ref, open_clip)
        try:
            outcomes.append(sum(len(piece) for piece in reader.pieces()))
        except ClipError as error:
            outcomes.append(error.error_class)
        if len(outcomes) == 2:
            with path.open("r+b") as file:
                file.write(b"other")
    assert outcomes == [32_000, 32_000, "changed", "changed"]
