"""`passtream plan` and `embed`, as the tests of `plan` run them."""

import json

from tests.support import QUICK, passtream

HERE = (*QUICK, "--in-process", "--max-error-ratio", 1)
ARCH = QUICK[:2]
CPU = "epyc-zen4-2-cores"


def plan(*args):
    done = passtream("plan", *args, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def embed(*args):
    done = passtream("embed", *args, *HERE)
    assert done.returncode == 0, done.stderr
