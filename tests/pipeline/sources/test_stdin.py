"""Tests of `pipeline.sources.stdin`: recordings named on standard input."""

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
def pipe(monkeypatch):
    """A function that puts bytes on standard input."""

    def replace_stdin(content, is_terminal=False):
        stdin = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: is_terminal)
        monkeypatch.setattr(sys, "stdin", stdin)

    return replace_stdin


def test_every_line_is_a_clip(tmp_path, monkeypatch, pipe):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.dat").write_bytes(b"a")
    pipe(b"a b.dat\n\n./a b.dat\r\n  \n/not/there.wav\n")
    clips = list_sources(["-"]).clips
    path = str(tmp_path / "a b.dat")
    assert [(c.uri, c.version) for c in clips] == [
        ("/not/there.wav", MISSING),
        (path, file_version(path)),
    ]


def test_names_with_any_bytes_are_listed(tmp_path, pipe):
    path = os.fsencode(tmp_path) + b"/\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"a")
    pipe(path + b"\n")
    (clip,) = list_sources(["-"]).clips
    assert clip.uri == f"file://{tmp_path}/%E9.wav"
    assert clip.version == file_version(os.fsdecode(path))


def test_standard_input_can_be_listed_with_other_sources(tmp_path, pipe):
    (tmp_path / "a.wav").write_bytes(b"a")
    pipe(b"/not/there.wav\n")
    assert len(list_sources(["-", str(tmp_path)]).clips) == 2


def test_a_terminal_is_refused(pipe):
    pipe(b"", is_terminal=True)
    with pytest.raises(UsageError, match="source '-' reads uris from standard input"):
        list_sources(["-"])


def test_empty_input_is_refused(pipe):
    pipe(b"\n")
    with pytest.raises(UsageError, match="no audio files in -"):
        list_sources(["-"])


def test_lines_have_no_columns(pipe):
    pipe(b"/a.wav\n")
    with pytest.raises(UsageError, match="columns speaker: lines on standard input have none"):
        list_sources(["-"], SourceOptions(columns=("speaker",)))


def test_the_format_uris_is_refused_for_a_file():
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
def test_a_byte_order_mark_and_nuls_between_names_are_understood(pipe, content):
    pipe(content)
    assert [clip.uri for clip in list_sources(["-"]).clips] == ["/a b.wav", "/ä.wav"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("/a.wav\n".encode("utf-16-le"), "seems to be UTF-16 without a byte order mark"),
        (b"/a.wav\nzip:///x\n", "standard input, line 2: 'zip:///x': files inside archives"),
        (b"/a.wav\nhttp://[::1\n", "standard input, line 2: .*is no valid URL"),
    ],
)
def test_lines_that_cannot_be_names_are_refused(pipe, content, message):
    pipe(content)
    with pytest.raises(UsageError, match=message):
        list_sources(["-"])
