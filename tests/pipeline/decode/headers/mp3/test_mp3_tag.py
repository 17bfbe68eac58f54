"""Tests of mp3.tag: the tag in the first frame of an MP3."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.headers.mp3.tag import Mp3Info, read_mp3_info
from pipeline.decode.headers.tags import skip_id3

# Kinds of Layer III: frame header, samples per frame, offset of the Xing tag in the frame.
HEADERS = {
    "mpeg1 stereo": (b"\xff\xfb\x90\x00", 1152, 36),
    "mpeg1 mono": (b"\xff\xfb\x90\xc0", 1152, 21),
    "mpeg2 stereo": (b"\xff\xf3\x90\x00", 576, 21),
    "mpeg2 mono": (b"\xff\xf3\x90\xc0", 576, 13),
    "mpeg2.5 mono": (b"\xff\xe3\x90\xc0", 576, 13),
}


@pytest.fixture(scope="module")
def parse(tmp_path_factory):
    """A function that writes an MP3 with given bytes and parses its tag."""
    path = tmp_path_factory.mktemp("mpeg") / "file"

    def parse_file(content, function=read_mp3_info):
        path.write_bytes(content)
        with open(path, "rb") as file:
            return function(file)

    return parse_file


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
def test_length_is_frames_times_samples_without_delay_and_padding(parse, kind, flags):
    _, samples, _ = HEADERS[kind]
    content = first_frame(kind, xing(100, flags, before=576, after=1000))
    assert parse(content) == Mp3Info(samples, True, 100 * samples - 1576)


def test_an_info_tag_counts_like_a_xing_tag(parse):
    assert parse(first_frame("mpeg1 mono", xing(7, name=b"Info"))) == Mp3Info(
        1152, True, 7 * 1152 - 529
    )


@pytest.mark.parametrize(
    ("before", "after", "n_removed"), [(0, 0, 529), (9, 100, 538), (0, 1000, 1000)]
)
def test_the_delay_of_the_decoder_is_removed_at_the_start(parse, before, after, n_removed):
    content = first_frame("mpeg1 mono", xing(7, before=before, after=after))
    assert parse(content) == Mp3Info(1152, True, 7 * 1152 - n_removed)


def test_delays_of_an_unnamed_encoder_are_ignored(parse):
    content = first_frame("mpeg1 mono", xing(7, before=576, after=1000))
    assert parse(content.replace(b"LAME3.100", bytes(9))) == Mp3Info(1152, True, 7 * 1152 - 529)


def test_vbri_tag(parse):
    tag = b"VBRI" + struct.pack(">HHHII", 1, 1000, 75, 50_000, 120)
    # A VBRI tag is at offset 36 of any frame.
    header = HEADERS["mpeg2 mono"][0]
    content = (header.ljust(36, b"\0") + tag).ljust(417, b"\0")
    # The frame that holds the tag is decoded, too, and no delay is removed.
    assert parse(content) == Mp3Info(576, True, 121 * 576)


@pytest.mark.parametrize("tags", [id3(0), id3(300), id3(20_000), id3(5, footer=True), id3(9) * 3])
def test_id3_tags_before_the_audio_are_skipped(parse, tags):
    assert parse(tags + b"audio", skip_id3) == len(tags)
    assert parse(tags + first_frame("mpeg1 stereo", xing(10))) == Mp3Info(1152, True, 11_520 - 529)


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
def test_other_files_are_no_mp3(parse, content):
    assert parse(content) is None


@pytest.mark.parametrize(
    "tag", [xing(10, flags=0b0110), xing(0), b"Xing\0\0", b"VBRI", b"VBRI" + bytes(20)]
)
def test_tags_without_a_count_declare_no_length(parse, tag):
    kind = "mpeg1 stereo"  # the kind with both tags at the same offset
    assert parse(first_frame(kind, tag)) == Mp3Info(1152, True, None)


def test_an_mp3_without_a_tag_declares_no_length(parse):
    assert parse(b"\xff\xfb\x90\x00") == Mp3Info(1152, False, None)
    assert parse(first_frame("mpeg2 mono", b"")) == Mp3Info(576, False, None)


@given(st.binary(max_size=80), st.sampled_from(["", *HEADERS]))
def test_any_bytes_give_a_valid_result(parse, content, kind):
    info = parse(first_frame(kind, content) if kind else content)
    if info is not None:
        assert info.frame_samples in (576, 1152)
        assert info.n_samples is None or (info.has_tag and info.n_samples >= 0)
