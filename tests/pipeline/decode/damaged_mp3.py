"""Damaged and unusual MP3s; see `damaged_audio`."""

import functools
import random

from tests.pipeline.decode.damaged_audio import RATE_HZ, damaged, sound
from tests.pipeline.decode.encoding import encoded

ENCODER_PADDING_S = 0.1
"""Silence that the encoder puts before and after, of which an MP3 without a tag does not tell."""
FRAME_BYTES = 288
"""At 16 kHz and 64 kbit/s: 36 ms."""


@functools.cache
def untagged(seed: int = 0) -> bytes:
    """Return an MP3 of 3 s that counts nothing."""
    return encoded(
        sound(seed=seed), "libmp3lame", "mp3", RATE_HZ, write_xing="0", id3v2_version="0"
    )


@functools.cache
def tagged(seed: int = 0) -> bytes:
    """Return an MP3 of 3 s whose first frame counts the others."""
    return encoded(sound(seed=seed), "libmp3lame", "mp3", RATE_HZ, id3v2_version="0")


def with_count(factor: float) -> bytes:
    """Return a tagged MP3 that counts more or fewer frames than it has."""
    content = bytearray(tagged())
    at = content.index(b"Info") + 8
    n_frames = int.from_bytes(content[at : at + 4], "big")
    content[at : at + 4] = round(factor * n_frames).to_bytes(4, "big")
    return bytes(content)


def with_titles(content: bytes, every: int) -> bytes:
    """Return a dump of a radio stream that sends titles as Icecast does."""
    title = b"StreamTitle='A song by someone';".ljust(48, b"\0")
    blocks = [content[at : at + every] for at in range(0, len(content), every)]
    lines = [bytes([3]) + title if n % 2 == 0 else b"\0" for n in range(len(blocks) - 1)]
    return b"".join(block + line for block, line in zip(blocks, [*lines, b""], strict=True))


def noise(n_bytes: int) -> bytes:
    return random.Random(n_bytes).randbytes(n_bytes)


ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + (2000).to_bytes(4, "little") * 2 + bytes(3) + b"\x80" + bytes(8)
BEHIND = {
    "nothing": b"",
    "zeros": bytes(5000),
    "id3v1": ID3V1,
    "lyrics3": b"LYRICSBEGININD0000200" + b"a" * 3000 + b"003021LYRICS200" + ID3V1,
    "ape": APE + bytes(2000) + APE + ID3V1,
    "noise": noise(30_001),
    "zip": b"PK\x03\x04" + noise(5000),
}
for name, behind in BEHIND.items():
    damaged(f"untagged-then-{name}.mp3", duration_s=3.0, within_s=ENCODER_PADDING_S)(
        lambda behind=behind: untagged() + behind
    )
    damaged(f"tagged-then-{name}.mp3", duration_s=3.0)(lambda behind=behind: tagged() + behind)


@damaged("cut-inside-a-frame.mp3", duration_s=1.5, within_s=0.1, decoded_short=True)
def untagged_mp3_cut_inside_a_frame() -> bytes:
    return untagged()[: len(untagged()) // 2 + 5]


@damaged("cut-by-a-byte.mp3", duration_s=3.0, within_s=0.1, decoded_short=True)
def untagged_mp3_cut_by_a_byte() -> bytes:
    return untagged()[:-1]


@damaged("tagged-cut-by-a-byte.mp3", duration_s=3.0, within_s=0.1, decoded_short=True)
def tagged_mp3_cut_by_a_byte() -> bytes:
    return tagged()[:-1]


@damaged("tagged-cut.mp3", error="truncated")
def tagged_mp3_cut() -> bytes:
    return tagged()[: len(tagged()) // 2]


@damaged("damaged-at-its-end.mp3", duration_s=2.9, within_s=0.1, decoded_short=True)
def untagged_mp3_damaged_at_its_end() -> bytes:
    return untagged()[:-1000] + noise(1000)


@damaged("damaged-in-the-middle.mp3", duration_s=3.0, within_s=0.2, decoded_short=True)
def untagged_mp3_damaged_in_the_middle() -> bytes:
    content, middle = untagged(), len(untagged()) // 2
    return content[:middle] + content[middle + 100 :]


@damaged("frame-of-another-kind.mp3", error="truncated", plan_error="")
def tagged_mp3_of_which_a_frame_says_that_it_is_mpeg_1() -> bytes:
    # Its count and its size agree, and the decoder stops there.
    content = bytearray(tagged())
    content[content.index(b"\xff\xf3", 10 * FRAME_BYTES) + 1] |= 0x08
    return bytes(content)


@damaged("tag-of-fraunhofer.mp3", duration_s=87 * 576 / RATE_HZ)
def mp3_with_a_tag_of_fraunhofers_encoder() -> bytes:
    content = bytearray(tagged())
    sizes = [(1105).to_bytes(2, "big"), bytes(2), len(content).to_bytes(4, "big")]
    tag = b"VBRI\0\1" + b"".join(sizes) + (86).to_bytes(4, "big")
    content[4:FRAME_BYTES] = (bytes(32) + tag).ljust(FRAME_BYTES - 4, b"\0")
    return bytes(content)


@damaged("of-a-nameless-encoder.mp3", duration_s=3.0, within_s=0.1)
def tagged_mp3_that_does_not_name_its_encoder() -> bytes:
    # Decoders then take off none of the samples that the tag says were added.
    content = bytearray(tagged())
    name_at = content.index(b"Lav", content.index(b"Info"))
    content[name_at : name_at + 9] = bytes(9)
    content[name_at + 21 : name_at + 24] = (2000 << 12 | 2000).to_bytes(3, "big")
    return bytes(content)


@damaged("titles.mp3", duration_s=3.0, within_s=0.2, decoded_short=True)
def radio_dump_with_titles() -> bytes:
    return with_titles(untagged(), 4000)


@damaged("tagged-titles.mp3", duration_s=3.0, within_s=0.2, decoded_short=True)
def tagged_radio_dump_with_titles() -> bytes:
    return with_titles(tagged(), 4000)


@damaged("joined.mp3", duration_s=6.0, within_s=0.2)
def tagged_mp3s_joined() -> bytes:
    return tagged() + tagged(1)


@damaged("joined-with-tags.mp3", duration_s=9.0, within_s=0.4)
def mp3s_joined_with_tags_between() -> bytes:
    id3 = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + noise(256)
    return id3 + tagged() + ID3V1 + id3 + tagged(1) + ID3V1 + untagged()


@damaged("counts-half.mp3", duration_s=3.0, within_s=0.1)
def mp3_that_counts_half_of_its_frames() -> bytes:
    return with_count(0.5)


@damaged("counts-double.mp3", error="truncated")
def mp3_that_counts_twice_its_frames() -> bytes:
    return with_count(2)


@damaged("zeros-after-its-id3-tag.mp3", duration_s=3.0, within_s=0.1)
def mp3_behind_zeros() -> bytes:
    return b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + noise(256) + bytes(3000) + untagged()


@damaged("id3-tag-only.mp3", error="empty")
def id3_tag_without_audio() -> bytes:
    return b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + noise(256)


@damaged("cut-inside-its-id3-tag.mp3", error="truncated")
def mp3_cut_inside_its_id3_tag() -> bytes:
    return id3_tag_without_audio()[:200]


@damaged("tag-without-frames.mp3", error="truncated")
def xing_tag_without_frames() -> bytes:
    content = tagged()
    return id3_tag_without_audio() + content[: content.index(b"\xff\xf3", 4)]


@damaged("tag-without-count-and-frames.mp3", error="empty")
def xing_tag_without_count_and_frames() -> bytes:
    content = bytearray(xing_tag_without_frames())
    content[content.index(b"Info") + 7] = 0
    return bytes(content)
