"""`pipeline.decode.unbounded_file`: all bytes of a file, and an end that is out of reach."""

import io
import os

import pytest

from pipeline.decode.unbounded_file import UnboundedFile

CONTENT = bytes(range(200))


@pytest.fixture
def endless():
    return UnboundedFile(io.BytesIO(CONTENT), 150)


def test_what_is_there_is_read_and_then_nothing(endless):
    assert endless.read(100) == CONTENT[:100]
    assert endless.read(100) == CONTENT[100:150]
    assert endless.read(100) == b""
    assert endless.tell() == 150
    assert endless.seek(-10, os.SEEK_CUR) == 140
    assert endless.read(3) == CONTENT[140:143]
    assert endless.seek(7) == 7
    assert endless.read(3) == CONTENT[7:10]
    assert endless.seek(-7) == 0


def test_its_end_is_far_and_holds_no_tag(endless):
    end = endless.seek(0, os.SEEK_END)
    assert end > 1 << 30
    assert endless.read(10) == b""
    assert endless.seek(-128, os.SEEK_END) == end - 128
    assert endless.read(1000) == bytes(128)
    assert endless.read(1) == b""


def test_a_file_whose_descriptor_was_moved(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    with open(tmp_path / "a", "rb", buffering=16) as file:
        file.read(5)
        os.lseek(file.fileno(), 90, os.SEEK_SET)
        assert UnboundedFile(file, 200).read(200) == CONTENT


def test_it_has_no_descriptor_and_leaves_the_file_open(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    with open(tmp_path / "a", "rb") as file:
        with UnboundedFile(file, 200) as endless, pytest.raises(io.UnsupportedOperation):
            endless.fileno()
        assert not file.closed
