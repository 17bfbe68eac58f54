"""torch's setting for fp32 products is ours for a while, and the caller's again."""

import pytest
import torch

from models.passt.matmul_precision import matmul_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def setting():
    return torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(params=["ieee", "tf32", "none"])
def before(request):
    """A caller's own setting."""
    torch.backends.cuda.matmul.fp32_precision = request.param
    yield request.param
    torch.backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.parametrize("ours", ["ieee", "tf32"])
def test_the_setting_is_put_back(before, ours):
    with matmul_precision(ours, CUDA):
        assert setting() == ours
        with matmul_precision("ieee", CUDA):
            assert setting() == "ieee"
        assert setting() == ours
    assert setting() == before


def test_it_is_put_back_after_an_error(before):
    with pytest.raises(KeyError), matmul_precision("ieee", CUDA):
        raise KeyError
    assert setting() == before


@pytest.mark.parametrize(("ours", "device"), [(None, CUDA), ("tf32", CPU)])
def test_nothing_is_set_where_nothing_is_asked(ours, device):
    before = setting()
    with matmul_precision(ours, device):
        assert setting() == before


def test_the_callers_own_choice_can_still_be_read():
    """Torch refuses to tell it once two of its ways to set it disagree."""
    torch.set_float32_matmul_precision("high")
    try:
        with matmul_precision("ieee", CUDA):
            pass
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
