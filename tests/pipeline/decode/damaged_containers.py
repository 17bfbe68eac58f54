"""Cut and damaged files of containers that FFmpeg reads; see `damaged_audio`."""

import functools

from tests.pipeline.decode.damaged_audio import RATE_HZ, damaged, sound
from tests.pipeline.decode.damaged_mp3 import noise
from tests.pipeline.decode.encoding import encoded

FORMATS = {
    "mka": ("flac", "matroska", {}),
    "webm": ("libopus", "webm", {}),
    "wma": ("wmav2", "asf", {}),
    "m4a": ("aac", "ipod", {"movflags": "faststart"}),
    "mp4": ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}),
}
"""FFmpeg's encoder and container, and the container's options."""


@functools.cache
def whole(ending: str) -> bytes:
    codec, container, options = FORMATS[ending]
    rate_hz = 48_000 if codec == "libopus" else RATE_HZ
    return encoded(sound(rate_hz=rate_hz), codec, container, rate_hz, **options)


def with_hole(ending: str) -> bytes:
    content, middle = whole(ending), len(whole(ending)) // 2
    return content[:middle] + noise(600) + content[middle + 600 :]


for name in FORMATS:
    damaged(f"whole.{name}", duration_s=3.0, within_s=0.1)(functools.partial(whole, name))
    damaged(f"cut.{name}", error="truncated")(
        lambda name=name: whole(name)[: len(whole(name)) // 2]
    )
    damaged(f"cut-by-some-bytes.{name}", duration_s=3.0, within_s=0.2, decoded_short=True)(
        lambda name=name: whole(name)[:-20]
    )
for name in ("wma", "m4a", "mp4"):
    damaged(f"joined.{name}", error="unread_audio")(lambda name=name: 2 * whole(name))
for name in ("mka", "webm", "m4a", "mp4"):
    damaged(f"whole-then-zeros.{name}", duration_s=3.0, within_s=0.1)(
        lambda name=name: whole(name) + bytes(5000)
    )
for name in ("mka", "webm", "wma"):
    # Only decoding shows what the damage costs: FFmpeg goes on with the next cluster, or not.
    damaged(
        f"damaged-in-the-middle.{name}",
        duration_s=2.0,
        within_s=0.7,
        decoded_short=True,
        plan_error="",
    )(functools.partial(with_hole, name))


@damaged("lists-more-than-it-holds.m4a", duration_s=2.9, within_s=0.15, decoded_short=True,
         plan_error="")  # fmt: skip
def m4a_whose_last_packet_ends_behind_the_file() -> bytes:
    # Its header and its boxes still fit the file; FFmpeg says nothing but by a flag.
    content = bytearray(whole("m4a"))
    sizes_at = content.index(b"stsz") + 16
    n_packets = int.from_bytes(content[sizes_at - 4 : sizes_at], "big")
    last_at = sizes_at + 4 * (n_packets - 1)
    content[last_at : last_at + 4] = (100_000).to_bytes(4, "big")
    return bytes(content)


@damaged("counts-in-a-wrong-unit.m4a", duration_s=3.0, within_s=0.1, plan_error="")
def m4a_whose_header_says_a_tenth_of_its_length() -> bytes:
    content = bytearray(whole("m4a"))
    scale_at = content.index(b"mdhd") + 16
    content[scale_at : scale_at + 4] = (10 * RATE_HZ).to_bytes(4, "big")
    return bytes(content)


@damaged("of-itunes.m4a", duration_s=3.0)
def m4a_as_itunes_writes_it() -> bytes:
    # What the decoder leaves out at the start is in the duration, and in a tag.
    duration_s, delay, filling = 3.0, 1024, 128
    content = bytearray(encoded(sound(duration_s), "aac", "ipod", RATE_HZ, use_editlist="0"))
    numbers = (0, delay, filling, round(duration_s * RATE_HZ), 0, 0)
    tag = "".join(f" {number:08X}" for number in numbers).encode()
    parts = box(b"mean", bytes(4) + b"com.apple.iTunes"), box(b"name", bytes(4) + b"iTunSMPB")
    item = box(b"----", *parts, box(b"data", bytes([0, 0, 0, 1, 0, 0, 0, 0]) + tag))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    user = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", item)))
    header_at = content.index(b"moov") - 4
    old_at = content.index(b"udta") - 4
    content[header_at:] = box(b"moov", content[header_at + 8 : old_at], user)
    return bytes(content)


def box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return (8 + len(body)).to_bytes(4, "big") + name + body


@damaged("shorter-than-its-packets.m4a", duration_s=3.0, within_s=0.1)
def m4a_whose_header_says_less_than_its_tables() -> bytes:
    content = bytearray(whole("m4a"))
    duration_at = content.index(b"mdhd") + 20
    content[duration_at : duration_at + 4] = RATE_HZ.to_bytes(4, "big")
    return bytes(content)


@damaged("edited.m4a", duration_s=2.7)
def m4a_whose_edit_ends_before_its_packets() -> bytes:
    content = bytearray(whole("m4a"))
    duration_at = content.index(b"elst") + 12
    content[duration_at : duration_at + 4] = (2_700).to_bytes(4, "big")  # ms
    return bytes(content)


@damaged("a-packet-of-double-time.mp4", duration_s=3.0, within_s=0.1, plan_error="")
def mp4_of_which_a_packet_is_said_to_last_longer() -> bytes:
    content = bytearray(whole("m4a"))
    times_at = content.index(b"stts") + 8
    n_entries = int.from_bytes(content[times_at : times_at + 4], "big")
    assert n_entries == 2
    content[times_at + 8 + 7] += 8  # 1,024 and a little
    return bytes(content)


@functools.cache
def live_webm() -> bytes:
    return encoded(sound(rate_hz=48_000), "libopus", "webm", 48_000, live="1")


# A live recording declares no length, so plan does not know it; but its last block is cut.
@damaged(
    "cut-live.webm",
    duration_s=2.9,
    within_s=0.15,
    decoded_short=True,
    plan_error="unknown_length",
)
def live_webm_cut() -> bytes:
    return live_webm()[:-100]
