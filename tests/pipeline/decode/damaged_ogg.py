"""Chained and damaged Ogg files; see `damaged_audio`."""

import functools
import io

import numpy as np
import soundfile

from tests.pipeline.decode.damaged_audio import by_libsndfile, damaged, sound
from tests.pipeline.decode.encoding import encoded

ID3 = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(range(256))


@functools.cache
def vorbis(duration_s: float = 3.0, serial: int = 1) -> bytes:
    return with_serial(by_libsndfile(sound(duration_s), "VORBIS", format="OGG"), serial)


@functools.cache
def opus(serial: int, channels: int = 1) -> bytes:
    pcm = sound(rate_hz=48_000)
    if channels == 2:
        file = io.BytesIO()
        soundfile.write(file, np.stack([pcm, pcm], 1), 48_000, "OPUS", format="OGG")
        return with_serial(file.getvalue(), serial)
    return with_serial(encoded(pcm, "libopus", "ogg", 48_000), serial)


def with_serial(content: bytes, serial: int) -> bytes:
    """Return an Ogg file whose one stream has another serial number."""
    pages = bytearray(content)
    at = 0
    while at < len(pages):
        assert pages[at : at + 4] == b"OggS"
        pages[at + 14 : at + 18] = serial.to_bytes(4, "little")
        n_segments = pages[at + 26]
        size = 27 + n_segments + sum(pages[at + 27 : at + 27 + n_segments])
        pages[at + 22 : at + 26] = bytes(4)
        checksum = crc(bytes(pages[at : at + size]))
        pages[at + 22 : at + 26] = checksum.to_bytes(4, "little")
        at += size
    return bytes(pages)


def crc(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8) & 0xFFFF_FFFF ^ crc_table()[value >> 24 ^ byte]
    return value


@functools.cache
def crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C1_1DB7 if value >> 31 else 0)) & 0xFFFF_FFFF
        table.append(value)
    return tuple(table)


@damaged("chained.ogg", duration_s=5.0, within_s=0.1)
def vorbis_files_joined() -> bytes:
    return vorbis(3.0, 1) + vorbis(2.0, 2)


@damaged("chained-thrice.ogg", duration_s=9.0, within_s=0.1)
def vorbis_files_joined_of_which_the_last_has_the_serial_of_the_first() -> bytes:
    return vorbis(3.0, 1) + vorbis(3.0, 2) + vorbis(3.0, 1)


@damaged("chained-of-one-serial.ogg", duration_s=6.0, within_s=0.1)
def vorbis_files_of_one_serial_joined() -> bytes:
    return vorbis() + vorbis()


@damaged("chained.opus", duration_s=6.0, within_s=0.1)
def opus_files_joined() -> bytes:
    return opus(1) + opus(2)


@damaged("chained-and-cut.ogg", duration_s=5.0, within_s=1.2, decoded_short=True)
def vorbis_files_joined_and_cut() -> bytes:
    return vorbis_files_joined()[:-100]


@damaged("chained-of-other-channels.opus", error="undecodable")
def opus_files_of_other_channels_joined() -> bytes:
    return opus(1) + opus(2, channels=2)


@damaged("chained-of-other-codecs.ogg", error="undecodable")
def ogg_files_of_other_codecs_joined() -> bytes:
    return vorbis() + opus(2)


@damaged("chained-of-other-rate.ogg", error="undecodable")
def vorbis_files_of_other_rates_joined() -> bytes:
    content = bytearray(vorbis(3.0, 2))
    at = content.index(b"\x01vorbis") + 12
    content[at : at + 4] = (22_050).to_bytes(4, "little")
    return vorbis() + with_serial(bytes(content), 2)


@damaged("behind-an-id3-tag.ogg", duration_s=3.0)
def vorbis_behind_an_id3_tag() -> bytes:
    return ID3 + vorbis()


@damaged("cut-behind-an-id3-tag.ogg", duration_s=1.5, within_s=1.5, decoded_short=True)
def vorbis_behind_an_id3_tag_cut() -> bytes:
    return (ID3 + vorbis())[: len(vorbis()) // 2]


@damaged("cut-behind-an-id3-tag.opus", duration_s=1.5, within_s=1.5, decoded_short=True)
def opus_behind_an_id3_tag_cut() -> bytes:
    return (ID3 + opus(1))[: len(opus(1)) // 2]
