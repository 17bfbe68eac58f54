"""Tests of setting and restoring the precision of fp32 matrix products."""

import pytest
import torch

from models.passt.matmul_precision import matmul_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def setting():
    return torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(params=["ieee", "tf32", "none"])
def before(request):
    """The caller's setting, which must be restored."""
    torch.backends.cuda.matmul.fp32_precision = request.param
    yield request.param
    torch.backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.parametrize("ours", ["ieee", "tf32"])
def test_setting_is_restored(before, ours):
    with matmul_precision(ours, CUDA):
        assert setting() == ours
        with matmul_precision("ieee", CUDA):
            assert setting() == "ieee"
        assert setting() == ours
    assert setting() == before


def test_setting_is_restored_after_an_error(before):
    with pytest.raises(KeyError), matmul_precision("ieee", CUDA):
        raise KeyError
    assert setting() == before


@pytest.mark.parametrize(("ours", "device"), [(None, CUDA), ("tf32", CPU)])
def test_setting_is_unchanged_without_precision_or_on_a_cpu(ours, device):
    before = setting()
    with matmul_precision(ours, device):
        assert setting() == before


def test_callers_choice_can_still_be_read():
    """Torch refuses to report the setting if its old and new interfaces disagree."""
    torch.set_float32_matmul_precision("high")
    try:
        with matmul_precision("ieee", CUDA):
            pass
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
