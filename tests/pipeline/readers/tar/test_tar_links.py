"""`tar_links`: hard links are clips; and what else of a tar is no clip is counted."""

import random
import tarfile

import pytest

from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.readers.intake import Intake
from pipeline.readers.lazy_reader import lazy_recordings
from pipeline.readers.shard_reader import container_recordings
from pipeline.readers.tar import links as links_module
from tests.pipeline.readers.tar.hostile_tars import (
    COMPRESSIONS,
    both,
    header,
    member,
    whole,
    with_old_sparse,
    write,
)
from tests.pipeline.sources.corpora import read, wav

A, B, C = (wav(100 + n, seed=n) for n in range(3))
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(4000)


def link(name, target, kind=tarfile.LNKTYPE):
    return header(name, 0, kind, linkname=target)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_hard_links_are_clips_with_the_bytes_of_an_earlier_member(tmp_path, kind):
    content = whole(
        member("d/a.wav", A),
        link("copy.wav", "d/a.wav"),
        member("b.raw", B),
        link("b.wav", "b.raw"),  # a member that is no clip by its own name
        link("chain.wav", "copy.wav"),
        link("dotted.wav", "./d/a.wav"),
        member("c.flac", C),
        link("a.txt", "d/a.wav"),
    )
    container = write(tmp_path, content, kind)
    found, seen = both(container)
    expected = {"d/a.wav": A, "c.flac": C, "copy.wav": A, "chain.wav": A, "dotted.wav": A}
    assert found == expected | {"b.wav": B}
    assert set(seen.values()) == {"sound"}
    for ref in read(container)[1]:
        if kind:
            assert ref.byte_range is None
        else:
            first, size = ref.byte_range
            assert content[first : first + size] == found[ref.member]


def test_texts_of_a_links_sample_go_with_it(tmp_path):
    content = whole(
        *(member("a.json", b"1"), member("a.wav", A), member("b.json", b"2")),
        *(link("b.wav", "a.wav"), member("b.txt", b"x")),
    )
    _, refs = read(write(tmp_path, content, "gz"), ("json", "txt"))
    assert {ref.member: ref.carried for ref in refs} == {
        "a.wav": ("1", None),
        "b.wav": ("2", "x"),
    }


@pytest.mark.parametrize("kind", ["", "gz"])
def test_a_link_stands_for_the_last_member_of_its_name_before_it(tmp_path, kind):
    content = whole(
        *(member("a.wav", A), link("x.wav", "a.wav")),
        *(member("./a.wav", B), link("x.wav", "a.wav"), link("y.wav", "a.wav")),
        member("a.wav", C),
    )
    assert both(write(tmp_path, content, kind))[0] == {
        "a.wav": A,
        "./a.wav": B,
        "a.wav#2": C,
        "x.wav": A,
        "x.wav#2": B,
        "y.wav": B,
    }


@pytest.mark.parametrize("kind", ["", "zst"])
def test_links_to_nothing_are_one_error_each(tmp_path, kind):
    """To a name that never comes, to one that comes later, and to the link itself."""
    content = whole(
        *(member("a.wav", A), link("b.wav", "gone.wav")),
        *(link("c.wav", "later.wav"), member("later.wav", B), link("self.wav", "self.wav")),
    )
    found, seen = both(write(tmp_path, content, kind))
    assert {name for name, kind in seen.items() if kind == "missing"} == {
        *("b.wav", "c.wav", "self.wav")
    }
    assert found["b.wav"].endswith(
        "b.wav: is a hard link to 'gone.wav', which no earlier member of the tar is; make the tar "
        "again, with that file in front of its links"
    )


@pytest.mark.parametrize("kind", ["", "gz"])
def test_links_before_damage_are_clips_and_the_rest_is_one_error(tmp_path, kind):
    content = whole(member("a.wav", A), link("b.wav", "a.wav"), member("c.wav", C))
    container = write(tmp_path, content[: -1024 - 512], kind)
    _, seen = both(container)
    assert seen == {"a.wav": "sound", "b.wav": "sound", "": "damaged_container"}


def test_a_link_to_a_member_beyond_the_limit_is_an_error_as_the_member_is(tmp_path):
    content = whole(
        *(member("a.wav", A), link("b.wav", "a.wav")),
        *(with_old_sparse("s.wav", 3 << 30, [(0, len(A))], A), link("t.wav", "s.wav")),
    )
    container = write(tmp_path, content)
    intake = Intake(max_clip_bytes=len(A) - 1)
    for recording in container_recordings(container, DEFAULT_STORAGE, (), intake):
        with pytest.raises(Exception, match=r"more than the \d+ that a clip may have") as raised:
            recording.open(len(A) - 1).__enter__()
        assert raised.value.error_class == "too_large"
    assert both(container)[1] == {
        "a.wav": "sound",
        "b.wav": "sound",
        "s.wav": "too_sparse",
        "t.wav": "too_sparse",
    }


def test_more_links_than_are_kept_in_memory_are_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(links_module, "MOST_BYTES", 1000)
    links = [link(f"{i}.wav", "a.wav") for i in range(100)]
    found, seen = both(write(tmp_path, whole(member("a.wav", A), *links)))
    assert 2 < len(seen) < 10
    assert "too many hard links" in found[""]


@pytest.mark.parametrize("kind", ["", "gz"])
@pytest.mark.parametrize("columns", [(), ("json",)])
def test_what_is_passed_over_is_counted(tmp_path, kind, columns):
    content = whole(
        *(member("a.wav.data", A), member("b.wav.bak", B), member("c.DATA", C)),
        *(member("d.json", b"1"), link("e.wav", "a.wav.data", tarfile.SYMTYPE)),
        *(header("f.wav", 0, tarfile.DIRTYPE), member("README", b"x"), member("g.wav", A)),
    )
    container = write(tmp_path, content, kind)
    intake = Intake()
    members = [
        each.clips[0].member
        for each in container_recordings(container, DEFAULT_STORAGE, columns, intake)
    ]
    assert members == ["g.wav"]
    assert intake.passed_over == {
        ".data": 2,
        ".bak": 1,
        "": 1,
        "symbolic links": 1,
        **({} if columns else {".json": 1}),
    }
    planned = Intake()
    assert [
        each.clips[0].member for each in lazy_recordings(container, DEFAULT_STORAGE, planned)
    ] == members
    assert planned.passed_over == intake.passed_over | {".json": 1}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_metadata_of_macos_is_passed_over_by_its_content_and_counted(tmp_path, kind):
    content = whole(
        *(member("._a.wav", APPLE_DOUBLE), member("a.wav", A)),
        *(member("__MACOSX/._b.wav", APPLE_DOUBLE), member("__MACOSX/b.wav", APPLE_DOUBLE)),
        *(member(".Trashes/501/._c.wav", APPLE_DOUBLE), member("._sound.wav", B)),
        *(member(".Trashes/501/c.wav", C), member("._empty.wav", b"")),
    )
    container = write(tmp_path, content, kind)
    assert both(container)[0] == {
        "a.wav": A,
        "._sound.wav": B,
        "._empty.wav": f"empty: {container.uri} ._empty.wav: is empty (0 bytes)",
    }
    intake = Intake()
    list(container_recordings(container, DEFAULT_STORAGE, (), intake))
    assert intake.passed_over == {
        "._ (metadata of macOS)": 1,
        "__MACOSX/": 2,
        ".Trashes/": 2,
    }


def test_kinds_that_strangers_invent_are_counted_together():
    intake = Intake()
    letters = random.Random(0)
    for _ in range(10_000):
        intake.pass_over("x." + "".join(letters.choices("abcdefgh", k=8)))
    intake.pass_over("x." + "y" * 10_000)
    assert len(intake.passed_over) <= 102
    assert intake.passed_over.total() == 10_001
