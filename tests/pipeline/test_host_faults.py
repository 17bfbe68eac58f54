"""Faults of this machine are told from faults of files."""

import errno
import os

import pytest

from pipeline.errors import HostError
from pipeline.host_faults import host_fault


@pytest.mark.parametrize(
    ("number", "named"),
    [(errno.ENOSPC, "TMPDIR"), (errno.EDQUOT, "TMPDIR"), (errno.EMFILE, "ulimit -n")],
)
def test_a_full_disk_or_descriptor_table_is_a_fault_of_the_host(number, named):
    fault = host_fault(OSError(number, os.strerror(number)))
    assert isinstance(fault, HostError)
    assert named in str(fault)


def test_an_invalid_argument_or_a_value_error_is_no_fault_of_the_host():
    assert host_fault(OSError(errno.EINVAL, "Invalid argument")) is None
    assert host_fault(ValueError("x")) is None
