"""Tests of `pipeline.host_faults`: faults of this machine against faults of files."""

import errno
import os

import pytest

from pipeline.errors import HostError
from pipeline.host_faults import host_fault


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "TMPDIR"), (errno.EDQUOT, "TMPDIR"), (errno.EMFILE, "ulimit -n")],
)
def test_full_disk_or_no_descriptors_is_a_host_fault(number, hint):
    fault = host_fault(OSError(number, os.strerror(number)))
    assert isinstance(fault, HostError)
    assert hint in str(fault)


def test_other_errors_are_no_host_fault():
    assert host_fault(OSError(errno.EINVAL, "Invalid argument")) is None
    assert host_fault(ValueError("x")) is None
