"""Helpers that run `passtream plan` and `embed` for the tests of `plan`."""

import json

from tests.support import QUICK, passtream

EMBED_OPTIONS = (*QUICK, "--in-process", "--max-error-ratio", 1)
ARCH = QUICK[:2]
CPU = "epyc-zen4-2-cores"
"""Name of the device in the shipped file of speeds."""


def plan(*args):
    """Run `passtream plan --json` and return its report."""
    done = passtream("plan", *args, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def embed(*args):
    """Run `passtream embed` in this process and check that it succeeds."""
    done = passtream("embed", *args, *EMBED_OPTIONS)
    assert done.returncode == 0, done.stderr
