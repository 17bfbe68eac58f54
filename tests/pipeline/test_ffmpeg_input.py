"""`pipeline.ffmpeg_input`: FFmpeg opens a recording, and nothing that the recording names.

Each file here is opened by FFmpeg as it comes, or would be if its content were believed; with the
gate each is an error of class `undecodable`, and no file or socket is opened.
"""

import contextlib
import ctypes
import io
import os
import socket
import struct

import av
import numpy as np
import pytest
import soundfile

from pipeline.clips import ClipRef, path_to_uri
from pipeline.decode import ClipReader
from pipeline.errors import ClipError
from pipeline.ffmpeg_input import SINGLE_FILE_FORMATS, open_ffmpeg
from pipeline.recordings import of_clip
from pipeline.versions import stat_version
from tests.support import tone

NAMED = "private.wav"
IN_OPEN = 0x20
HOSTILE = {
    "ffconcat.m4a": "ffconcat version 1.0\nfile {named}\n",
    "itself.m4a": "ffconcat version 1.0\nfile itself.m4a\n",
    "playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{named}\n#EXT-X-ENDLIST\n",
    "remote.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{url}\n#EXT-X-ENDLIST\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="a">'
    "<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "session.aac": "v=0\no=- 0 0 IN IP4 0.0.0.0\ns=x\nc=IN IP4 0.0.0.0\nt=0 0\n"
    "m=audio {port} RTP/AVP 0\n",
    "program.sbg": "-SE\nNOW 300+4/50\n+24:00:00 off\n",
    "list.wma": "<asx version='3.0'><entry><ref href='{named}'/></entry></asx>",
    "images.flac": "%03d.png",
}


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


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_names_other_files_or_hosts_is_undecodable(
    tmp_path, secret, listener, name, monkeypatch
):
    port = listener.getsockname()[1]
    for where in (str(secret), NAMED, f"file:{secret}"):
        path = tmp_path / name
        url = f"http://127.0.0.1:{port}/a.ts"
        path.write_text(HOSTILE[name].format(named=where, url=url, port=port))
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
    with open_ffmpeg(buffer) as container:
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
        for _ in ClipReader(
            of_clip(ClipRef(path_to_uri(str(path)), stat_version(path.stat())))
        ).pieces():
            pass
    except ClipError as error:
        return error
    return None


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind, *parts, flags=0):
    return box(kind, struct.pack(">I", flags), *parts)


def mov_with_reference(path):
    """A QuickTime file of one PCM track, whose samples lie in the file that its `dref` names."""
    name = path.encode()
    alias = struct.pack(">IHH", 0, 0, 2) + bytes(142)
    alias += struct.pack(">hH", 2, len(name)) + name + bytes(len(name) % 2)
    alias += struct.pack(">hH", -1, 0)
    n = 16_000
    entry = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, 16_000 << 16)
    matrix = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">u4").tobytes()
    stbl = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), box(b"twos", entry)),
        full(b"stts", struct.pack(">III", 1, n, 1)),
        full(b"stsc", struct.pack(">IIII", 1, 1, n, 1)),
        full(b"stsz", struct.pack(">II", 2, n)),
        full(b"stco", struct.pack(">II", 1, 44)),
    )
    minf = box(
        b"minf",
        full(b"smhd", bytes(4)),
        box(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"alis", alias))),
        stbl,
    )
    mdia = box(
        b"mdia",
        full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 16_000, n, 0, 0)),
        full(b"hdlr", b"mhlrsoun" + bytes(12)),
        minf,
    )
    tkhd = full(
        b"tkhd",
        struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, 1000, 0, 0, 256, 0),
        matrix,
        bytes(8),
        flags=7,
    )
    mvhd = full(
        b"mvhd",
        struct.pack(">IIIIIH10x", 0, 0, 1000, 1000, 1 << 16, 256),
        matrix,
        bytes(24),
        struct.pack(">I", 2),
    )
    return box(b"ftyp", b"qt  " + bytes(4) + b"qt  ") + box(b"moov", mvhd, box(b"trak", tkhd, mdia))
