"""`pipeline.readers.tar.headers`: what headers may ask for; sparse members of every version."""

import tarfile

import pytest

from pipeline.readers.tar.headers import MOST_NAME_BYTES, MOST_PAX_BYTES
from tests.pipeline.readers.tar.hostile_tars import (
    COMPRESSIONS,
    block_with,
    both,
    by_tarfile,
    header,
    member,
    negative,
    pax,
    whole,
    write,
)
from tests.pipeline.sources.corpora import listed, wav

A, B = wav(100), wav(120, seed=1)
SIZE_AT = 124


@pytest.mark.parametrize("kind", COMPRESSIONS)
@pytest.mark.parametrize("size", [-1, -512, -(10**9), 1 << 63, 1 << 80])
def test_a_size_below_zero_or_absurd_is_damage_in_plan_and_embed(tmp_path, kind, size):
    field = negative(size) if size < 0 else b"\x80" + size.to_bytes(11, "big")
    bad = block_with(header("b.wav", 0), SIZE_AT, field)
    found, seen = both(write(tmp_path, whole(member("a.wav", A), bad, member("c.wav", B)), kind))
    assert seen == {"a.wav": "sound", "": "damaged_container"}
    assert f"a size of {size} bytes" in found[""]


@pytest.mark.parametrize("value", ["-1", "9" * 30, "x", "1_0", ""])
def test_a_size_of_a_pax_header_that_makes_no_sense_is_damage(tmp_path, value):
    content = whole(member("a.wav", A), pax({"size": value}), member("b.wav", B))
    _, seen = both(write(tmp_path, content))
    assert seen == {"a.wav": "sound", "": "damaged_container"}


def test_a_member_that_says_it_is_longer_than_the_tar_is_damage_and_not_written(tmp_path):
    """One of 10 TB: nothing of it may reach the disk."""
    content = whole(member("a.wav", A), header("b.wav", 10 << 40) + B)
    _, seen = both(write(tmp_path, content))
    assert seen == {"a.wav": "sound", "": "damaged_container"}


@pytest.mark.parametrize("kind", ["", "gz", "xz", "zst"])
@pytest.mark.parametrize(
    ("type_", "most"),
    [
        (tarfile.XHDTYPE, MOST_PAX_BYTES),
        (tarfile.XGLTYPE, MOST_PAX_BYTES),
        (tarfile.SOLARIS_XHDTYPE, MOST_PAX_BYTES),
        (tarfile.GNUTYPE_LONGNAME, MOST_NAME_BYTES),
        (tarfile.GNUTYPE_LONGLINK, MOST_NAME_BYTES),
    ],
)
def test_an_extended_header_that_is_too_long_is_damage(tmp_path, kind, type_, most):
    content = whole(member("a.wav", A), header("x", most + 1, type_) + bytes(most))
    found, seen = both(write(tmp_path, content, kind))
    assert seen == {"a.wav": "sound", "": "damaged_container"}
    assert f"of {most + 1} bytes, more than the {most} that are read" in found[""]


def test_a_name_that_is_too_long_in_a_pax_header_is_damage(tmp_path):
    for key in ("path", "linkpath", "GNU.sparse.name"):
        content = whole(pax({key: "n" * (MOST_NAME_BYTES + 1)}), member("a.wav", A))
        assert both(write(tmp_path, content))[1] == {"": "damaged_container"}


def test_long_names_are_read_as_before(tmp_path):
    name = "d/" * 1000 + "ü" * 500 + ".wav"
    for format_ in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "c.tar", "w", format=format_) as tar:
            (tmp_path / "a.wav").write_bytes(A)
            tar.add(tmp_path / "a.wav", name)
        (container,) = listed(tmp_path / "c.tar", format="tar").containers
        assert both(container)[0] == {name: A}


def test_endless_extended_headers_do_not_recurse(tmp_path):
    """More of them than Python's stack is deep, in front of one member."""
    for each in (pax({"comment": "x"}), header("L", 6, tarfile.GNUTYPE_LONGNAME) + b"b.wav\0"):
        block = each + bytes(-len(each) % 512)
        found, _ = both(write(tmp_path, whole(block * 3000, member("a.wav", A))))
        assert list(found.values()) == [A]


def test_what_an_outer_header_says_wins_and_global_names_hold(tmp_path):
    content = whole(
        pax({"path": "outer.wav"}),
        pax({"path": "inner.wav"}),
        member("a.wav", A),
        pax({"path": "all.wav"}, tarfile.XGLTYPE),
        member("b.wav", B),
    )
    container = write(tmp_path, content)
    assert both(container)[0] == {"outer.wav": A, "all.wav": B} == by_tarfile(container.uri)


def test_records_of_digits_alone_take_no_time(tmp_path):
    """Searching them for numbers is quadratic: minutes for these."""
    content = pax({"comment": "1" * 3_000_000})
    assert both(write(tmp_path, whole(content, member("a.wav", A))))[0] == {"a.wav": A}
