"""Damaged and unusual recordings without a container: AAC, AC-3, AMR, MP2; see `damaged_audio`."""

import functools

from tests.pipeline.decode.damaged_audio import RATE_HZ, damaged, sound
from tests.pipeline.decode.damaged_mp3 import ID3V1, noise, with_titles
from tests.pipeline.decode.encoding import encoded

ID3 = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + noise(256)
AMR_WB_FRAME = 61
"""Bytes at 23.85 kbit/s."""


@functools.cache
def adts() -> bytes:
    return encoded(sound(), "aac", "adts", RATE_HZ)


@functools.cache
def ac3() -> bytes:
    return encoded(sound(rate_hz=32_000), "ac3", "ac3", 32_000)


@functools.cache
def eac3() -> bytes:
    return encoded(sound(rate_hz=32_000), "eac3", "eac3", 32_000)


@functools.cache
def mp2() -> bytes:
    return encoded(sound(), "mp2", "mp2", RATE_HZ)


@functools.cache
def amr_nb() -> bytes:
    # Frames of 12.2 kbit/s; any bits are speech of a kind.
    return b"#!AMR\n" + b"".join(b"\x3c" + noise(31 * 2)[n % 31 :][:31] for n in range(150))


@functools.cache
def amr_wb() -> bytes:
    return b"#!AMR-WB\n" + b"".join(b"\x44" + noise(120)[n % 60 :][:60] for n in range(150))


WHOLE = {
    "adts.aac": adts,
    "ac3.ac3": ac3,
    "eac3.ac3": eac3,
    "nb.amr": amr_nb,
    "wb.amr": amr_wb,
    "layer2.mp2": mp2,
}
for name, whole in WHOLE.items():
    damaged(f"whole-{name}", duration_s=3.0, within_s=0.1)(whole)
    damaged(f"id3-tag-before-{name}", duration_s=3.0, within_s=0.1)(
        lambda whole=whole: ID3 + whole()
    )
    for what, behind in (("zeros", bytes(5000)), ("noise", noise(5001)), ("tag", ID3V1)):
        damaged(f"{what}-behind-{name}", duration_s=3.0, within_s=0.1)(
            lambda whole=whole, behind=behind: whole() + behind
        )
    damaged(f"cut-inside-a-frame-{name}", duration_s=1.5, within_s=0.1, decoded_short=True)(
        lambda whole=whole: whole()[: len(whole()) // 2 + 7]
    )
    damaged(f"cut-by-a-byte-{name}", duration_s=2.95, within_s=0.1, decoded_short=True)(
        lambda whole=whole: whole()[:-1]
    )


@damaged("damaged-at-its-end.aac", duration_s=2.9, within_s=0.15, decoded_short=True, plan_error="")
def adts_damaged_at_its_end() -> bytes:
    # Only decoding shows that the last frames, whose headers are sound or gone, cannot be decoded.
    return adts()[:-300] + noise(300)


@damaged("damaged-at-its-end.amr", duration_s=2.9, within_s=0.15, decoded_short=True)
def amr_damaged_at_its_end() -> bytes:
    return amr_wb()[: -4 * AMR_WB_FRAME - 30] + bytes([255]) * (4 * AMR_WB_FRAME + 30)


@damaged("frame-missing.aac", duration_s=2.9, within_s=0.15, decoded_short=True)
def adts_damaged_in_the_middle() -> bytes:
    middle = len(adts()) // 2
    return adts()[:middle] + adts()[middle + 300 :]


@damaged("overwritten.ac3", duration_s=2.9, within_s=0.15, decoded_short=True)
def ac3_damaged_in_the_middle() -> bytes:
    middle = len(ac3()) // 2
    return ac3()[:middle] + noise(700) + ac3()[middle + 700 :]


@damaged("titles.aac", duration_s=2.7, within_s=0.4, decoded_short=True)
def adts_of_a_radio_with_titles() -> bytes:
    return with_titles(adts(), 12_000)


@damaged("joined.aac", duration_s=6.0, within_s=0.3)
def adts_joined() -> bytes:
    return adts() + ID3 + adts()
