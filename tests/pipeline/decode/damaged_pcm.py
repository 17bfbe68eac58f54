"""WAV and its kin, AIFF, CAF, AU and SPHERE with wrong or unfinished headers, for `damaged_audio`.

Each format comes as a file of three seconds and the offset of the size of its audio, so that the
same damage is done to all of them.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import av
import numpy as np

from tests.pipeline.decode.damaged_audio import RATE_HZ, by_libsndfile, damaged, sound, wav

PCM = sound().tobytes()
N_BYTES = len(PCM)


@dataclass(frozen=True)
class Format:
    """A container of PCM.

    Attributes:
        ending: Ending of its files.
        content: A file of three seconds, which ends with the audio.
        size_at: Offset of the size of the audio.
        code: Type of the size, as `struct` writes it.
        more: What the size counts besides the audio.
        unfinished: Sizes that a program leaves which does not come to its end.
    """

    ending: str
    content: bytes
    size_at: int
    code: str
    more: int = 0
    unfinished: tuple[int, ...] = (0, 0xFFFF_FFFF)

    def declaring(self, n_bytes: int) -> bytes:
        return self.with_size(n_bytes + self.more)

    def with_size(self, size: int) -> bytes:
        packed = struct.pack(self.code, size)
        return self.content[: self.size_at] + packed + self.content[self.size_at + len(packed) :]


def _found(ending: str, content: bytes, mark: bytes, code: str, **rest: object) -> Format:
    before_audio = content[: len(content) - N_BYTES]
    return Format(ending, content, before_audio.rindex(mark) + len(mark), code, **rest)


RF64 = by_libsndfile(sound(), format="RF64")
FORMATS = [
    _found("wav", wav(PCM), b"data", "<I"),
    _found("rifx.wav", by_libsndfile(sound(), format="WAV", endian="BIG"), b"data", ">I"),
    Format("rf64", RF64, RF64.index(b"ds64") + 16, "<Q", unfinished=(0, (1 << 64) - 1)),
    Format(
        "bw64.wav",
        b"BW64" + RF64[4:],
        RF64.index(b"ds64") + 16,
        "<Q",
        unfinished=(0, (1 << 64) - 1),
    ),
    _found(
        "w64",
        by_libsndfile(sound(), format="W64"),
        b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a",
        "<Q",
        more=24,
        unfinished=(0, 24),
    ),
    _found("aiff", by_libsndfile(sound(), format="AIFF"), b"SSND", ">I", more=8, unfinished=(0, 8)),
    _found(
        "caf", by_libsndfile(sound(), format="CAF"), b"data", ">q", more=4, unfinished=(-1, 0, 4)
    ),
    Format("au", by_libsndfile(sound(), format="AU"), 8, ">I"),
    Format("le.au", by_libsndfile(sound(), format="AU", endian="LITTLE"), 8, "<I"),
]
"""Containers of PCM that come with every kind of damage."""


def _add(name: str, build: Callable[[], bytes], **right: object) -> None:
    damaged(name, **right)(build)


for each in FORMATS:
    half = each.content[: len(each.content) - N_BYTES // 2]
    _add(f"whole-3-s.{each.ending}", partial(each.declaring, N_BYTES), duration_s=3.0)
    _add(f"cut-to-half.{each.ending}", partial(bytes, half), error="truncated")
    _add(
        f"cut-by-ten-ms.{each.ending}",
        partial(bytes, each.content[:-320]),
        duration_s=2.99,
        decoded_short=True,
    )
    _add(
        f"cut-by-a-byte.{each.ending}",
        partial(bytes, each.content[:-1]),
        duration_s=3.0 - 1 / RATE_HZ,
        decoded_short=True,
    )
    _add(f"counts-half.{each.ending}", partial(each.declaring, N_BYTES // 2), duration_s=3.0)
    _add(
        f"counts-nearly-all.{each.ending}", partial(each.declaring, N_BYTES - 3200), duration_s=3.0
    )
    _add(
        f"span-behind-the-count.{each.ending}",
        partial(each.declaring, N_BYTES // 2),
        duration_s=1.0,
        span=(1.25, 2.25),
    )
    for size in each.unfinished:
        _add(f"unfinished-{size}.{each.ending}", partial(each.with_size, size), duration_s=3.0)


def sphere(declared: int = 48_000) -> bytes:
    content = by_libsndfile(sound(), format="NIST")
    return content.replace(b"-i 48000\n", b"-i %05d\n" % declared)


_add("whole.sph", sphere, duration_s=3.0)
_add("counts-half.sph", partial(sphere, 24_000), duration_s=3.0)
_add("unfinished.sph", partial(sphere, 0), duration_s=3.0)
_add("cut.sph", lambda: sphere()[:-48_000], error="truncated")
_add("cut-a-little.sph", lambda: sphere()[:-320], duration_s=2.99, decoded_short=True)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


BEHIND = {
    "list": chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 70) + bytes(70)),
    "cut-list": chunk(b"LIST", b"INFO" + bytes(900))[:500],
    "unknown-chunk": chunk(b"abcd", bytes(range(200))),
    "id3v1": b"TAG" + bytes(range(125)),
    "id3v2": b"ID3\x04\0\0\0\0\1\0" + bytes(range(128)),
    "zeros": bytes(20_000),
    "text": b"\r\n--boundary-of-an-upload--\r\n" * 20,
    "picture": b"\xff\xd8\xff\xe0\0\x10JFIF" + np.random.default_rng(1).bytes(30_000),
    "a-few-bytes": b"\x01\x80\x03",
}
for name, behind in BEHIND.items():
    _add(f"{name}-behind.wav", partial(wav, PCM + behind, N_BYTES), duration_s=3.0)
    _add(f"size-0-and-{name}-behind.wav", partial(wav, behind, 0), error="empty")

# Eight bits a sample make an odd size; some programs leave out the filling byte.
_ODD = by_libsndfile(sound()[:-1], "PCM_U8", format="WAV")
_add("odd-and-filled.wav", lambda: _ODD + BEHIND["list"], duration_s=3.0 - 1 / RATE_HZ)
_add("odd.wav", lambda: _ODD[: 44 + 47_999] + BEHIND["list"], duration_s=3.0 - 1 / RATE_HZ)


@damaged("empty-3.wav", error="empty")
def wav_without_audio() -> bytes:
    return wav(b"", 0)


@damaged("two-data-chunks.wav", error="unread_audio")
def wav_with_two_data_chunks() -> bytes:
    return wav(PCM[: N_BYTES // 2] + chunk(b"data", PCM[N_BYTES // 2 :]), N_BYTES // 2)


@damaged("two-data-chunks-and-a-list.wav", error="unread_audio")
def wav_with_a_chunk_between_two_data_chunks() -> bytes:
    more = BEHIND["list"] + chunk(b"data", PCM[N_BYTES // 2 :])
    return wav(PCM[: N_BYTES // 2] + more, N_BYTES // 2)


@damaged("two-data-chunks-in-a-span.wav", duration_s=1.0, span=(0.25, 1.25))
def wav_with_two_data_chunks_of_which_the_first_holds_the_clip() -> bytes:
    return wav_with_two_data_chunks()


@damaged("a-tiny-second-data-chunk.wav", duration_s=3.0, decoded_short=True)
def wav_with_a_second_data_chunk_within_the_tolerance() -> bytes:
    return wav(PCM + chunk(b"data", PCM[:320]), N_BYTES)


@damaged("two-sound-chunks.aiff", error="unread_audio")
def aiff_with_two_sound_chunks() -> bytes:
    content = by_libsndfile(sound(), format="AIFF")
    at = content.index(b"SSND")
    return content + content[at:]


@damaged("joined.wav", error="unread_audio")
def wavs_that_were_joined() -> bytes:
    return wav(PCM) + wav(PCM)


@damaged("joined.au", error="unread_audio")
def aus_that_were_joined() -> bytes:
    return by_libsndfile(sound(), format="AU") * 2


@damaged("adpcm-size-0.wav", duration_s=3.0, within_s=0.1)
def compressed_wav_that_was_never_finished() -> bytes:
    content = by_libsndfile(sound(), "IMA_ADPCM", format="WAV")
    at = content.index(b"data") + 4
    return content[:at] + bytes(4) + content[at + 4 :]


@damaged("riff-of-8-bytes.wav", duration_s=3.0)
def wav_of_a_recorder_that_lost_power_at_once() -> bytes:
    content = wav(PCM, 0)
    return content[:4] + struct.pack("<I", 8) + content[8:]


def mp3_in_wav(pcm: np.ndarray | None = None, rate_hz: int = RATE_HZ) -> bytes:
    """Return a WAV whose codec is MP3, as FFmpeg writes it."""
    pcm = sound() if pcm is None else pcm
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("libmp3lame", rate=rate_hz, layout="mono", bit_rate=64_000)
        planar = np.ascontiguousarray(pcm[None])
        frame = av.AudioFrame.from_ndarray(planar, format="s16p", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for block in (frame, None):
            for packet in stream.encode(block):
                container.mux(packet)
    return file.getvalue()


def _fact(content: bytes, n_samples: int | None) -> bytes:
    at = content.index(b"fact")
    if n_samples is None:
        return content[:at] + b"junk" + content[at + 4 :]
    return content[: at + 8] + struct.pack("<I", n_samples) + content[at + 12 :]


_add("mp3-3-s.wav", mp3_in_wav, duration_s=3.0, within_s=0.001)
_add(
    "mp3-44100.wav",
    lambda: mp3_in_wav(sound(3.0, 44_100), 44_100),
    duration_s=3.0,
    within_s=0.001,
)
_add("mp3-of-an-acm.wav", lambda: _fact(mp3_in_wav(), 48_000), duration_s=3.0)
_add("mp3-without-a-count.wav", lambda: _fact(mp3_in_wav(), None), duration_s=3.0, within_s=0.08)
_add("mp3-miscounted.wav", lambda: _fact(mp3_in_wav(), 1 << 30), duration_s=3.0, within_s=0.08)
_add("mp3-cut.wav", lambda: mp3_in_wav()[:-12_000], error="truncated")


@damaged("mp3-with-a-count-of-its-own.wav", duration_s=3.0)
def wav_of_an_mp3_with_an_info_tag() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE_HZ, layout="mono", bit_rate=64_000)
        frame = av.AudioFrame.from_ndarray(sound()[None], format="s16p", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        for block in (frame, None):
            for packet in stream.encode(block):
                container.mux(packet)
    mp3 = file.getvalue()
    head = _fact(mp3_in_wav(), 48_000)
    at = head.index(b"data")
    return head[:at] + chunk(b"data", mp3[mp3.index(b"\xff\xf3") :])
