"""`open_audio`: libsndfile and FFmpeg give the same samples, in step with their source."""

import itertools
import tempfile

import av
import numpy as np
import pytest
import soundfile

from pipeline.decode.ffmpeg import open_ffmpeg
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY
from pipeline.decode.libsndfile import open_libsndfile
from pipeline.decode.open_audio import open_audio
from pipeline.errors import CannotDecodeError

RATE_HZ = 44_100
DURATION_S = 2.5
LOSSLESS = {
    "u8.wav": ("WAV", "PCM_U8"),
    "s16.wav": ("WAV", "PCM_16"),
    "s24.wav": ("WAV", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
}
# name: codec of FFmpeg, options of the container.
LOSSY = {
    "tagged.mp3": ("libmp3lame", {}),
    "plain.mp3": ("libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "id3.mp3": ("libmp3lame", {"write_xing": "0", "id3v2_version": "4"}),
    "a.opus": ("libopus", {}),
    "a.m4a": ("aac", {}),
    "fragments.m4a": ("aac", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
}


def voice(rate_hz, duration_s=DURATION_S):
    """Mono noise below 3 kHz that swells, which every codec keeps."""
    n = round(rate_hz * duration_s)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(n))
    spectrum[round(3_000 * duration_s) :] = 0
    spectrum[: round(100 * duration_s)] = 0
    pcm = np.fft.irfft(spectrum, n) * (1.2 + np.sin(np.arange(n) * 9 / rate_hz))
    return (0.5 * pcm / np.abs(pcm).max()).astype(np.float32)


def encode(path, codec, pcm, rate_hz, **options):
    """Mono, by FFmpeg, in the blocks that it asks for."""
    with av.open(str(path), "w", options=options) as container:
        container.metadata["title"] = "of a tag"
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format, rate=rate_hz)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for each in (*resampler.resample(frame), None):
            for packet in stream.encode(each):
                container.mux(packet)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoders")
    for name, (form, subtype) in LOSSLESS.items():
        pcm = np.stack([voice(RATE_HZ), -0.5 * voice(RATE_HZ)], axis=1)
        soundfile.write(folder / name, pcm, RATE_HZ, subtype, format=form)
    for name, (codec, options) in LOSSY.items():
        rate_hz = 48_000 if codec == "libopus" else RATE_HZ
        encode(folder / name, codec, voice(rate_hz), rate_hz, **options)
    with soundfile.SoundFile(folder / "a.ogg", "w", RATE_HZ, 1, "VORBIS") as file:
        for block in np.array_split(voice(RATE_HZ), 10):
            file.write(block)
    return folder


def frames_of(path, decoder):
    with open(path, "rb") as file, decoder(file) as sound:
        return np.concatenate(list(sound.pieces)), sound


def lag(samples, source):
    """By how many samples they are behind the source, by cross-correlation."""
    n = len(samples) + len(source)
    product = np.fft.rfft(samples, n) * np.conj(np.fft.rfft(source, n))
    at = int(np.argmax(np.fft.irfft(product, n)))
    return at if at <= n // 2 else at - n


@pytest.mark.parametrize("name", LOSSLESS)
def test_both_give_the_same_samples(files, name):
    expected, _ = soundfile.read(files / name, dtype="float32", always_2d=True)
    for decoder in (open_libsndfile, open_ffmpeg):
        frames, sound = frames_of(files / name, decoder)
        assert (sound.sample_rate_hz, sound.channels) == (RATE_HZ, 2)
        np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["tagged.mp3", "plain.mp3", "id3.mp3", "a.ogg", "a.opus"])
def test_both_give_the_same_audio_of_what_is_lossy(files, name):
    ours, sound = frames_of(files / name, open_libsndfile)
    theirs, _ = frames_of(files / name, open_ffmpeg)
    assert len(ours) == len(theirs)
    assert lag(ours[:, 0], theirs[:, 0]) == 0
    # Two decoders of one format round differently, Opus's by more.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3)
    source = voice(sound.sample_rate_hz)
    if name in ("plain.mp3", "id3.mp3"):
        assert lag(ours[:, 0], source) == ASSUMED_DELAY
        trimmed, _ = frames_of(files / name, open_audio)
        assert trimmed.tobytes() == ours[ASSUMED_DELAY:].tobytes()
        # The last frame is filled up, and nobody knows from where on.
        assert 0 <= len(trimmed) - len(source) < 2 * 1152
    else:
        assert lag(ours[:, 0], source) == 0
        assert len(ours) == len(source)


def test_fragments_of_mp4_do_not_tell_their_delay(files):
    # One block in front, and one that is filled up behind; nothing is lost.
    frames, _ = frames_of(files / "fragments.m4a", open_ffmpeg)
    assert lag(frames[:, 0], voice(RATE_HZ)) == 1024
    assert 1024 <= len(frames) - len(voice(RATE_HZ)) < 2048


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100])
def test_aac_in_mp4_has_the_length_of_its_source(tmp_path, rate_hz):
    encode(tmp_path / "a.m4a", "aac", voice(rate_hz), rate_hz)
    frames, _ = frames_of(tmp_path / "a.m4a", open_ffmpeg)
    assert len(frames) == len(voice(rate_hz))
    assert lag(frames[:, 0], voice(rate_hz)) == 0


def test_an_xing_tag_of_another_encoder_is_treated_alike(files, tmp_path):
    # It counts frames, and where LAME has its name and the delays, it has zeros.
    content = bytearray((files / "tagged.mp3").read_bytes())
    name_at = content.index(b"Lav")
    content[name_at : name_at + 24] = bytes(24)
    (tmp_path / "a.mp3").write_bytes(content)
    ours, _ = frames_of(tmp_path / "a.mp3", open_libsndfile)
    theirs, _ = frames_of(tmp_path / "a.mp3", open_ffmpeg)
    assert len(ours) == len(theirs)
    assert lag(ours[:, 0], theirs[:, 0]) == 0


@pytest.mark.parametrize(
    ("name", "decoder"),
    [("a.ogg", "FFmpeg"), ("a.opus", "FFmpeg"), ("a.flac", "libsndfile"), ("s16.wav", "libsndfile"),
     ("plain.mp3", "libsndfile"), ("a.m4a", "FFmpeg")],
)  # fmt: skip
def test_the_content_and_not_the_name_says_who_decodes(files, tmp_path, name, decoder):
    path = tmp_path / "sound.bin"
    path.write_bytes((files / name).read_bytes())
    with open(path, "rb") as file, open_audio(file) as sound:
        assert sound.decoder == decoder


def test_flac_in_ogg(tmp_path):
    encode(tmp_path / "a.oga", "flac", voice(RATE_HZ), RATE_HZ)
    frames, _ = frames_of(tmp_path / "a.oga", open_audio)
    np.testing.assert_allclose(frames[:, 0], voice(RATE_HZ), rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [8, 9, 24])
def test_ffmpeg_gives_all_channels(tmp_path, noise, channels):
    # More than eight made PyAV read beyond its planes, and crash.
    pcm = noise(5000 * channels).reshape(-1, channels)
    soundfile.write(tmp_path / "a.wav", pcm, RATE_HZ, subtype="FLOAT")
    frames, sound = frames_of(tmp_path / "a.wav", open_ffmpeg)
    assert sound.channels == channels
    assert frames.tobytes() == pcm.tobytes()


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.wv", "wavpack", "6.1"),
        ("a.wv", "wavpack", "7.1"),
        ("a.wv", "wavpack", "hexadecagonal"),
        ("a.webm", "libopus", "7.1"),
    ],
)
def test_ffmpeg_gives_all_channels_where_each_has_a_plane_of_its_own(tmp_path, name, codec, layout):
    # Of eight planes PyAV found a ninth, and crashed.
    rate_hz = 48_000
    levels = 0.1 * np.arange(1, 1 + av.AudioLayout(layout).nb_channels, dtype=np.float32) / 2
    pcm = voice(rate_hz)[:, None] * levels
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts = rate_hz, 0
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        to_codec = av.AudioResampler(
            stream.codec_context.format, layout, rate_hz, stream.frame_size or 1024
        )
        for each in (*to_codec.resample(frame), *to_codec.resample(None), None):
            container.mux(stream.encode(each))
    frames, sound = frames_of(tmp_path / name, open_ffmpeg)
    assert sound.channels == len(levels)
    np.testing.assert_allclose(frames.std(0) / frames.std(0)[0], levels / levels[0], rtol=0.1)


def test_pieces_of_many_channels_are_short(tmp_path):
    pcm = np.zeros((20_000, 1000), np.uint8)
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8_000, 1000, "PCM_U8") as file:
        file.write(pcm.astype(np.int16))
    with open(tmp_path / "a.wav", "rb") as file, open_audio(file) as sound:
        lengths = [len(piece) for piece in sound.pieces]
    # Eight channels' worth of a piece: 1,048,576 samples.
    assert max(lengths) == 1048
    assert sum(lengths) == 20_000


def test_the_pieces_of_ffmpeg_are_not_as_small_as_its_frames(files):
    with open(files / "a.opus", "rb") as file, open_ffmpeg(file) as sound:
        lengths = [len(piece) for piece in sound.pieces]
    assert sum(lengths) == 120_000
    assert min(lengths[:-1]) > 20_000


def test_a_stream_that_changes_its_rate_is_refused(tmp_path):
    for rate_hz in (44_100, 48_000):
        encode(tmp_path / f"{rate_hz}.aac", "aac", voice(rate_hz), rate_hz)
    both = (tmp_path / "44100.aac").read_bytes() + (tmp_path / "48000.aac").read_bytes()
    (tmp_path / "both.aac").write_bytes(both)
    with (
        open(tmp_path / "both.aac", "rb") as file,
        open_audio(file) as sound,
        pytest.raises(ValueError, match=r"changes from 44100 Hz .* to 48000 Hz"),
    ):
        list(sound.pieces)


def test_ogg_files_one_after_another_are_one_recording(files, tmp_path):
    (tmp_path / "chain.ogg").write_bytes(2 * (files / "a.ogg").read_bytes())
    frames, _ = frames_of(tmp_path / "chain.ogg", open_audio)
    # Where the second one begins FFmpeg is up to a block off.
    assert 0 <= len(frames) - 2 * len(voice(RATE_HZ)) <= 1024


@pytest.mark.parametrize("n", [1, 100, 1000, 10_000])
@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_ogg_files_of_one_page_have_the_length_of_their_source(tmp_path, codec, n):
    soundfile.write(tmp_path / "a.ogg", voice(48_000)[:n], 48_000, codec, format="OGG")
    frames, _ = frames_of(tmp_path / "a.ogg", open_audio)
    expected, _ = frames_of(tmp_path / "a.ogg", open_libsndfile)
    assert len(frames) == len(expected) == n
    np.testing.assert_allclose(frames, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("n_pieces", [0, 1, 100])
def test_a_temporary_file_can_be_closed_afterwards(files, name, n_pieces):
    # One that can be written to goes back by what it has buffered, from where the decoder is.
    with tempfile.TemporaryFile() as file:
        file.write((files / name).read_bytes())
        with open_audio(file) as sound:
            list(itertools.islice(sound.pieces, n_pieces))


def test_what_neither_knows_names_both(tmp_path):
    (tmp_path / "a.wav").write_text("Dear diary, no music today.\n" * 50)
    with (
        open(tmp_path / "a.wav", "rb") as file,
        pytest.raises(CannotDecodeError, match="libsndfile: Format not recognised; FFmpeg: "),
        open_audio(file),
    ):
        pass
