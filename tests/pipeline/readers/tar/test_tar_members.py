"""`tar_members`: names; what is in a tar, and damage, is tried with `tar_reader`."""

import pytest

from pipeline.readers.tar.members import split_name


@pytest.mark.parametrize(
    ("name", "key", "ending"),
    [
        ("a.wav", "a", "wav"),
        ("x.y/a.left.WAV", "x.y/a", "left.wav"),
        ("./a.b/c", "./a.b/c", ""),
        (".hidden.wav", ".hidden", "wav"),
        ("d/.wav", "d/.wav", ""),
        ("", "", ""),
    ],
)
def test_names_are_split_at_the_first_dot_of_the_last_part(name, key, ending):
    assert split_name(name) == (key, ending)
