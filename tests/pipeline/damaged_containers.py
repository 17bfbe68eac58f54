"""Cut and damaged files of containers that FFmpeg reads; see `damaged_audio`."""

import functools

from tests.pipeline.damaged_audio import RATE_HZ, damaged, sound
from tests.pipeline.damaged_mp3 import noise
from tests.pipeline.encoding import encoded

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
