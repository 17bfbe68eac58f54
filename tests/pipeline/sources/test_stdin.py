"""`pipeline.sources.stdin`: uris on standard input."""

import io
import os
import sys
from types import SimpleNamespace

import pytest

from pipeline.errors import UsageError
from pipeline.io.versions import MISSING, file_version
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions


@pytest.fixture
def piped(monkeypatch):
    """Puts bytes on standard input."""

    def pipe(content, is_terminal=False):
        stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: is_terminal)
        monkeypatch.setattr(sys, "stdin", stdin)

    return pipe


def test_every_line_is_a_clip(tmp_path, monkeypatch, piped):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.dat").write_bytes(b"a")
    piped(b"a b.dat\n\n./a b.dat\r\n  \n/not/there.wav\n")
    clips = list_sources(["-"]).clips
    path = str(tmp_path / "a b.dat")
    assert [(c.uri, c.version) for c in clips] == [
        ("/not/there.wav", MISSING),
        (path, file_version(path)),
    ]


def test_names_of_any_bytes(tmp_path, piped):
    path = os.fsencode(tmp_path) + b"/\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"a")
    piped(path + b"\n")
    (clip,) = list_sources(["-"]).clips
    assert clip.uri == f"file://{tmp_path}/%E9.wav"
    assert clip.version == file_version(os.fsdecode(path))


def test_beside_other_sources(tmp_path, piped):
    (tmp_path / "a.wav").write_bytes(b"a")
    piped(b"/not/there.wav\n")
    assert len(list_sources(["-", str(tmp_path)]).clips) == 2


def test_a_terminal_is_refused(piped):
    piped(b"", is_terminal=True)
    with pytest.raises(UsageError, match="source '-' reads uris from standard input"):
        list_sources(["-"])


def test_nothing_on_it(piped):
    piped(b"\n")
    with pytest.raises(UsageError, match="no audio files in -"):
        list_sources(["-"])


def test_lines_have_no_columns(piped):
    piped(b"/a.wav\n")
    with pytest.raises(UsageError, match="columns speaker: lines on standard input have none"):
        list_sources(["-"], SourceOptions(columns=("speaker",)))


def test_a_format_for_one_location():
    with pytest.raises(UsageError, match="with source_format uris the source is -"):
        list_sources(["uris.txt"], SourceOptions(format="uris"))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff/a b.wav\n/ä.wav\n".encode(),
        "\ufeff/a b.wav\r\n/ä.wav\r\n".encode("utf-16-le"),
        "/a b.wav\0/ä.wav\0".encode(),
    ],
)
def test_a_byte_order_mark_and_nuls_between_names_are_understood(piped, content):
    piped(content)
    assert [clip.uri for clip in list_sources(["-"]).clips] == ["/a b.wav", "/ä.wav"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("/a.wav\n".encode("utf-16-le"), "seems to be UTF-16 without a byte order mark"),
        (b"/a.wav\nzip:///x\n", "standard input, line 2: 'zip:///x': files inside archives"),
        (b"/a.wav\nhttp://[::1\n", "standard input, line 2: .*is no valid URL"),
    ],
)
def test_lines_that_can_be_no_names_are_refused(piped, content, message):
    piped(content)
    with pytest.raises(UsageError, match=message):
        list_sources(["-"])
