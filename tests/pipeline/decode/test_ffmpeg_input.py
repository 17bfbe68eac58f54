"""`pipeline.decode.ffmpeg_input`: FFmpeg opens a recording, and nothing that the recording names.

Each file here is opened by FFmpeg as it comes, or would be if its content were believed; with the
gate each is an error of class `undecodable`, and no file or socket is opened.
"""

import contextlib
import ctypes
import io
import os
import socket

import av
import pytest
import soundfile

from pipeline.clips import ClipRef, path_to_uri
from pipeline.decode.ffmpeg_input import SINGLE_FILE_FORMATS, open_ffmpeg_container
from pipeline.errors import ClipError
from pipeline.io.versions import stat_version
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader
from tests.hostile import SCRIPTS, mov_with_reference
from tests.support import tone

NAMED = "private.wav"
IN_OPEN = 0x20


@pytest.fixture
def secret(tmp_path):
    """A recording that the hostile files name."""
    path = tmp_path / NAMED
    soundfile.write(path, tone(1.0, 16_000), 16_000)
    return path


@pytest.fixture
def listener():
    """A server that would see a request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_file_that_names_other_files_or_hosts_is_undecodable(
    tmp_path, secret, listener, name, monkeypatch
):
    port = listener.getsockname()[1]
    for where in (str(secret), NAMED, f"file:{secret}"):
        path = tmp_path / name
        url = f"http://127.0.0.1:{port}/a.ts"
        path.write_text(SCRIPTS[name].format(named=where, url=url, port=port))
        monkeypatch.chdir(tmp_path)
        with watched(secret) as was_opened:
            assert error_of(path).error_class == "undecodable"
            assert not was_opened()
    with pytest.raises(TimeoutError):
        listener.accept()


def test_the_watch_sees_files_that_ffmpeg_opens(secret):
    with watched(secret) as was_opened:
        av.open(str(secret)).close()
        assert was_opened()


def test_the_error_of_a_script_says_why_it_is_not_opened(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_text("ffconcat version 1.0\nfile b.wav\n")
    assert "may name other files" in error_of(path).message


def test_an_mp4_whose_audio_lies_in_another_file_does_not_open_it(tmp_path, secret):
    path = tmp_path / "reference.mov"
    path.write_bytes(mov_with_reference(str(secret)))
    with watched(secret) as was_opened:
        assert error_of(path) is not None
        assert not was_opened()


@pytest.mark.parametrize(
    ("ending", "codec", "form"),
    [
        ("m4a", "aac", "mp4"),
        ("aac", "aac", "adts"),
        ("mka", "libopus", "matroska"),
        ("webm", "libopus", "webm"),
        ("wma", "wmav2", "asf"),
        ("mov", "pcm_s16le", "mov"),
        ("ts", "mp2", "mpegts"),
        ("mpg", "mp2", "mpeg"),
        ("avi", "pcm_s16le", "avi"),
        ("flv", "libmp3lame", "flv"),
        ("ac3", "ac3", "ac3"),
        ("wv", "wavpack", "wv"),
        ("tta", "tta", "tta"),
        ("caf", "alac", "caf"),
        ("au", "pcm_s16be", "au"),
        ("spx", "libspeex", "ogg"),
    ],
)
def test_every_container_of_audio_is_still_opened(ending, codec, form):
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    rate_hz = 32_000 if codec == "libspeex" else 48_000
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(tone(1.0, rate_hz)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(format=stream.codec_context.format, rate=rate_hz)
        for each in (*resampler.resample(frame), None):
            for packet in stream.encode(each):
                container.mux(packet)
    buffer.seek(0)
    with open_ffmpeg_container(buffer) as container:
        n_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert n_samples >= 0.95 * rate_hz


def test_the_allowed_formats_are_names_that_ffmpeg_knows():
    known = {part for name in av.formats_available for part in name.split(",")}
    # `eac3` and the like are demuxers; PyAV lists muxers and demuxers together.
    assert set(SINGLE_FILE_FORMATS) <= known
    assert not {"concat", "hls", "sdp", "dash", "sbg", "image2"} & set(SINGLE_FILE_FORMATS)


@contextlib.contextmanager
def watched(path):
    """Yield a function that says whether anybody, C code too, has opened the file meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    assert descriptor >= 0
    assert libc.inotify_add_watch(descriptor, os.fsencode(path), IN_OPEN) >= 0

    def was_opened():
        try:
            return bool(os.read(descriptor, 4096))
        except BlockingIOError:
            return False

    try:
        yield was_opened
    finally:
        os.close(descriptor)


def error_of(path):
    """The error that the file ends in as a clip."""
    try:
        for _ in clip_reader(
            clip_recording(ClipRef(path_to_uri(str(path)), stat_version(path.stat())))
        ).pieces():
            pass
    except ClipError as error:
        return error
    return None
