"""Tests that docstrings and comments keep the rules of wording that a program can check."""

from pathlib import Path

import pytest

from tests.wording import CODE, ROOT, files, findings


@pytest.mark.parametrize("place", CODE)
def test_docstrings_and_comments_keep_the_rules_of_wording(place):
    found = [line for path in files([ROOT / place]) for line in findings(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f():\n    """The answer."""\n', "f: 'The' is no verb"),
        (
            'def f():\n    """Return it.\n\n    Args:\n        x: of it.\n    """\n',
            "x: begins with 'of'",
        ),
        ('def f():\n    """Return it.\n\n    Args:\n        x: it.\n    """\n', "small letter"),
        ("x = 1  # read anew\n", "'anew'; write 'again'"),
    ],
)
def test_broken_rules_are_reported(tmp_path: Path, monkeypatch, source, expected):
    monkeypatch.setattr("tests.wording.ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(source)
    (found,) = findings(path)
    assert expected in found


def test_good_docstrings_pass(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.wording.ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(
        'class C:\n    """A thing.\n\n    Attributes:\n        n: Number of parts.\n    """\n\n'
        '    @property\n    def size(self):\n        """Size in bytes."""\n'
    )
    assert not list(findings(path))
