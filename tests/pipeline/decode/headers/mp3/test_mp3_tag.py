"""`pipeline.decode.headers.mp3.tag`: what the first frame of an MP3 says of the others."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.mp3.tag import Mp3Info, read_mp3_info
from pipeline.decode.headers.tags import skip_id3

# MPEG-1 Layer III stereo, mono; MPEG-2 stereo, mono: header, samples a frame, place of the tag.
HEADERS = {
    "mpeg1 stereo": (b"\xff\xfb\x90\x00", 1152, 36),
    "mpeg1 mono": (b"\xff\xfb\x90\xc0", 1152, 21),
    "mpeg2 stereo": (b"\xff\xf3\x90\x00", 576, 21),
    "mpeg2 mono": (b"\xff\xf3\x90\xc0", 576, 13),
    "mpeg2.5 mono": (b"\xff\xe3\x90\xc0", 576, 13),
}


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """What an MP3 of these bytes says."""
    path = tmp_path_factory.mktemp("mpeg") / "file"

    def of(content, function=read_mp3_info):
        path.write_bytes(content)
        with open(path, "rb") as file:
            return function(file)

    return of


def first_frame(kind, tag):
    header, _, tag_at = HEADERS[kind]
    return (header.ljust(tag_at, b"\0") + tag).ljust(417, b"\0")


def xing(n_frames, flags=0b1111, before=0, after=0, name=b"Xing"):
    fields = struct.pack(">I", n_frames) if flags & 1 else b""
    fields += bytes(4) if flags & 2 else b""
    fields += bytes(100) if flags & 4 else b""
    fields += bytes(4) if flags & 8 else b""
    lame = b"LAME3.100" + bytes(12) + (before << 12 | after).to_bytes(3, "big")
    return name + struct.pack(">I", flags) + fields + lame


def id3(size, footer=False):
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0" + (b"\x10" if footer else b"\0") + length + bytes(size + 10 * footer)


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("flags", [0b0001, 0b0011, 0b0101, 0b1111])
def test_frames_times_samples_less_what_the_encoder_added(look, kind, flags):
    _, samples, _ = HEADERS[kind]
    content = first_frame(kind, xing(100, flags, before=576, after=1000))
    assert look(content) == Mp3Info(samples, True, 100 * samples - 1576)


def test_a_constant_rate_is_called_info(look):
    assert look(first_frame("mpeg1 mono", xing(7, name=b"Info"))) == Mp3Info(
        1152, True, 7 * 1152 - 529
    )


@pytest.mark.parametrize(
    ("before", "after", "n_taken"), [(0, 0, 529), (9, 100, 538), (0, 1000, 1000)]
)
def test_decoders_take_off_their_own_delay_at_the_start(look, before, after, n_taken):
    content = first_frame("mpeg1 mono", xing(7, before=before, after=after))
    assert look(content) == Mp3Info(1152, True, 7 * 1152 - n_taken)


def test_delays_of_a_nameless_encoder_are_none(look):
    content = first_frame("mpeg1 mono", xing(7, before=576, after=1000))
    assert look(content.replace(b"LAME3.100", bytes(9))) == Mp3Info(1152, True, 7 * 1152 - 529)


def test_fraunhofers_tag(look):
    tag = b"VBRI" + struct.pack(">HHHII", 1, 1000, 75, 50_000, 120)
    # It stands 36 bytes into any frame.
    header = HEADERS["mpeg2 mono"][0]
    content = (header.ljust(36, b"\0") + tag).ljust(417, b"\0")
    # The frame that it stands in is decoded as well, and nothing is taken off.
    assert look(content) == Mp3Info(576, True, 121 * 576)


@pytest.mark.parametrize("tags", [id3(0), id3(300), id3(20_000), id3(5, footer=True), id3(9) * 3])
def test_tags_in_front_are_skipped(look, tags):
    assert look(tags + b"audio", skip_id3) == len(tags)
    assert look(tags + first_frame("mpeg1 stereo", xing(10))) == Mp3Info(1152, True, 11_520 - 529)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"\xff\xfd\x90\x00".ljust(36, b"\0") + xing(10),  # Layer II
        b"RIFF" + bytes(60),
        id3(100)[:40],
    ],
)
def test_what_is_no_mp3(look, content):
    assert look(content) is None


@pytest.mark.parametrize(
    "tag", [xing(10, flags=0b0110), xing(0), b"Xing\0\0", b"VBRI", b"VBRI" + bytes(20)]
)
def test_tags_that_do_not_count(look, tag):
    kind = "mpeg1 stereo"  # the one of which both tags are in one place
    assert look(first_frame(kind, tag)) == Mp3Info(1152, True, None)


def test_no_tag(look):
    assert look(b"\xff\xfb\x90\x00") == Mp3Info(1152, False, None)
    assert look(first_frame("mpeg2 mono", b"")) == Mp3Info(576, False, None)


@given(st.binary(max_size=80), st.sampled_from(["", *HEADERS]))
def test_any_bytes_give_an_answer(look, content, kind):
    found = look(first_frame(kind, content) if kind else content)
    if found is not None:
        assert found.frame_samples in (576, 1152)
        assert found.n_samples is None or (found.has_tag and found.n_samples >= 0)
