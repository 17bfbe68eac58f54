"""`open_audio` on MP3s that do not count their frames: all of them, wherever they get small.

libsndfile alone ends such a file where its first frames let it expect the end.
"""

import numpy as np
import pytest
import soundfile

from pipeline.decode.ffmpeg import open_ffmpeg
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY
from pipeline.decode.libsndfile import open_libsndfile
from pipeline.decode.open_audio import open_audio
from pipeline.decode.probe import probe_audio
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader
from tests.mixed_corpus import encode

PLAIN = ("-write_xing", "0", "-id3v2_version", "0")
VARIABLE, AVERAGE = ("-q:a", "4"), ("-b:a", "64k", "-abr", "1")
LAST_FRAMES = 2 * 1152
"""The encoder fills its last frames up, and nobody knows from where on."""


def pcm_of(kind, rate_hz, channels):
    """Five seconds of noise, and six of silence or of noise."""
    rng = np.random.default_rng(5)
    loud = 0.1 * rng.standard_normal((5 * rate_hz, channels))
    other = np.zeros((6 * rate_hz, channels))
    if kind == "loud":
        other = 0.1 * rng.standard_normal(other.shape)
    return np.concatenate([other, loud] if kind == "silent, loud" else [loud, other])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes an MP3 of a source, once: its path, and the source's samples."""
    folder = tmp_path_factory.mktemp("uncounted")

    def make(kind="loud", rate_hz=44_100, channels=2, options=VARIABLE, tags=PLAIN):
        name = "_".join(map(str, (kind, rate_hz, channels, *options, *tags))).replace(" ", "")
        pcm, path = pcm_of(kind, rate_hz, channels), folder / f"{name}.mp3"
        if not path.exists():
            soundfile.write(folder / "a.wav", pcm, rate_hz)
            encode(folder / "a.wav", path, "-c:a", "libmp3lame", *options, *tags)
        return path, pcm

    return make


@pytest.fixture
def outcome(tmp_path, listed):
    """What becomes of a file of these bytes: seconds, or an error's class and message."""

    def of(content):
        path = tmp_path / "clip"
        path.write_bytes(content)
        reader = clip_reader(clip_recording(listed(path)), Limits())
        try:
            return sum(map(len, reader.pieces())) / 32_000
        except ClipError as error:
            return error.error_class, str(error)

    return of


def frames_of(path, decoder):
    with open(path, "rb") as file, decoder(file) as sound:
        return np.concatenate(list(sound.pieces))


def lag(samples, source):
    n = len(samples) + len(source)
    product = np.fft.rfft(samples, n) * np.conj(np.fft.rfft(source, n))
    at = int(np.argmax(np.fft.irfft(product, n)))
    return at if at <= n // 2 else at - n


@pytest.mark.parametrize(
    ("rate_hz", "channels", "options"),
    [(44_100, 2, VARIABLE), (44_100, 1, AVERAGE), (22_050, 1, VARIABLE), (16_000, 2, AVERAGE),
     (11_025, 2, VARIABLE)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["loud", "loud, silent", "silent, loud"])
def test_all_of_it_in_step_with_its_source(made, kind, rate_hz, channels, options):
    path, pcm = made(kind, rate_hz, channels, options)
    frames = frames_of(path, open_audio)
    assert 0 <= len(frames) - len(pcm) < LAST_FRAMES
    assert lag(frames[:, 0], pcm[:, 0]) == 0
    # What libsndfile gives of it is the same to the last bit, and FFmpeg finds no more.
    alone = frames_of(path, open_libsndfile)[ASSUMED_DELAY:]
    assert alone.tobytes() == frames[: len(alone)].tobytes()
    assert len(alone) < len(frames) or kind != "loud, silent"
    assert len(frames_of(path, open_ffmpeg)) == ASSUMED_DELAY + len(frames)


@pytest.mark.parametrize("rate_hz", [44_100, 16_000])
def test_a_constant_bit_rate_is_decoded_as_ever(made, rate_hz):
    path, _ = made("loud, silent", rate_hz, options=("-b:a", "64k"))
    frames = frames_of(path, open_audio)
    assert frames.tobytes() == frames_of(path, open_libsndfile)[ASSUMED_DELAY:].tobytes()
    with open(path, "rb") as file:
        assert probe_audio(file).n_frames == len(frames)


def test_id3_tags_in_front_and_behind(made):
    tags = ("-write_xing", "0", "-id3v2_version", "4", "-write_id3v1", "1", "-metadata", "title=a")
    path, _ = made("loud, silent", tags=tags)
    content = path.read_bytes()
    assert (content[:3], content[-128:-125]) == (b"ID3", b"TAG")
    plain, _ = made("loud, silent")
    assert frames_of(path, open_audio).tobytes() == frames_of(plain, open_audio).tobytes()


def test_a_tag_without_a_count(made, tmp_path):
    path, pcm = made("loud, silent", tags=())
    content = bytearray(path.read_bytes())
    content[content.index(b"Xing") + 7] &= 0xFE
    (tmp_path / "a.mp3").write_bytes(content)
    frames = frames_of(tmp_path / "a.mp3", open_audio)
    assert 0 <= len(frames) - len(pcm) < LAST_FRAMES + ASSUMED_DELAY


@pytest.mark.parametrize("options", [VARIABLE, ("-b:a", "64k")])
def test_what_follows_the_audio_changes_no_sample(made, tmp_path, options):
    path, _ = made(options=options)
    samples = frames_of(path, open_audio).tobytes()
    for behind in (bytes(5000), np.random.default_rng(1).bytes(100_000)):
        (tmp_path / "a.mp3").write_bytes(path.read_bytes() + behind)
        assert frames_of(tmp_path / "a.mp3", open_audio).tobytes() == samples


def test_files_that_were_joined(made, outcome):
    variable = made("loud, silent")[0].read_bytes()
    constant = made(options=("-b:a", "64k"))[0].read_bytes()
    fast = made(options=("-b:a", "192k"))[0].read_bytes()
    tagged = made(tags=())[0].read_bytes()
    for parts in ((variable, variable), (fast, constant), (constant, fast), (variable, tagged)):
        assert outcome(b"".join(parts)) == pytest.approx(22, abs=0.2)
    assert outcome(fast + constant + fast) == pytest.approx(33, abs=0.2)


@pytest.mark.parametrize("options", [VARIABLE, ("-b:a", "64k")])
@pytest.mark.parametrize("other", [{"channels": 1}, {"rate_hz": 48_000}, {"rate_hz": 22_050}])
def test_files_that_were_joined_and_differ_are_told(made, outcome, options, other):
    one, two = made(options=options)[0], made(options=options, **other)[0]
    error_class, message = outcome(one.read_bytes() + two.read_bytes())
    assert error_class == "undecodable"
    assert "changes from 44100 Hz with 2 channels to" in message


@pytest.mark.parametrize("options", [VARIABLE, ("-b:a", "64k")])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_what_was_cut_off_is_embedded_as_far_as_it_goes(made, outcome, options, share):
    path, _ = made(options=options)
    content = path.read_bytes()
    assert outcome(content[: round(share * len(content))]) == pytest.approx(11 * share, abs=0.2)
    assert outcome(content[:-1]) == pytest.approx(11, abs=0.1)


@pytest.mark.parametrize("options", [VARIABLE, ("-b:a", "64k")])
def test_damage(made, outcome, options):
    path, _ = made(options=options)
    content = path.read_bytes()
    middle = len(content) // 2
    # A few frames are no matter; zeros end libmpg123 with an error, noise without one.
    few = content[:middle] + bytes(20) + content[middle + 20 :]
    assert outcome(few) == pytest.approx(11, abs=0.2)
    noise = np.random.default_rng(7).bytes(4000)
    for hole in (bytes(4000), noise, b"\xff" * 4000):
        error_class, _ = outcome(content[:middle] + hole + content[middle + 4000 :])
        assert error_class == "undecodable"
