"""Tests that `ps` shows no credentials, even before large packages are imported."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

SECRET = "do-not-show-me"
IMPORT_HOOK = """
import sys
from pathlib import Path

class CommandLinePrinter:
    def find_spec(self, name, path=None, target=None):
        if name in ("typer", "pydantic", "rich", "ray", "torch", "numpy"):
            sys.meta_path.remove(self)
            print("seen:", ascii(Path("/proc/self/cmdline").read_bytes().split(b"\\0")[3:-1]))

sys.meta_path.insert(0, CommandLinePrinter())
sys.argv = ["passtream", *sys.argv[1:]]
"""
STARTS = {
    "installed": "import passtream; passtream.main()",
    "module": "import runpy; runpy.run_module('jobs.cli', run_name='__main__')",
}


def shown_arguments(start: str, *args: str) -> list[bytes]:
    """Return the arguments that `ps` shows when the first large package is imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_HOOK + STARTS[start], *args],
        cwd=ROOT,
        env=os.environ
        | {
            "AWS_EC2_METADATA_DISABLED": "true"
        },  # boto3 must not wait for credentials of a cloud instance
        capture_output=True,
        text=True,
        timeout=120,
    )
    (line,) = (each for each in done.stdout.splitlines() if each.startswith("seen: "))
    found = eval(line.removeprefix("seen: "))
    assert [len(each) for each in found] == [len(each.encode()) for each in args]
    return found


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "args",
    [
        ("embed", "s3://a", "s3://b", "--storage-options", f"secret={SECRET}"),
        ("plan", "s3://a", f"--storage-options=token={SECRET}"),
        ("plan", "a", "--storage-options", f'client_kwargs={{"headers": {{"X-A": "{SECRET}"}}}}'),
        ("submit", "n.yaml", "--env", f"AWS_SECRET_ACCESS_KEY={SECRET}", "", "ü"),
        ("embed", f"https://user:{SECRET}@host/x.wav", f"https://h/x?X-Amz-Signature={SECRET}"),
        ("embed", "--storage-options", SECRET),
    ],
)
def test_credentials_are_hidden_before_anything_large_is_imported(start, args):
    found = b" ".join(shown_arguments(start, *args)).decode()
    assert SECRET not in found
    assert args[0] in found
    assert "**" in found


def test_arguments_without_credentials_are_unchanged():
    args = ("embed", "recordings", "ü", "", "--arch", "a=b", "--log-format=json")
    assert shown_arguments("installed", *args) == [each.encode() for each in args]
