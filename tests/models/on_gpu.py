"""What the tests that need a GPU share."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

# 0.16 to 10 s: one patch, the same count twice, a whole window
RAGGED = (5120, 96_000, 20_001, 95_999, 320_000, 20_000, 171_717)
# Largest error, of values that spread over about one.
TOLERANCE = {"fp32": 1e-4, "tf32": 0.02, "fp16": 0.02, "bf16": 0.1}
EVERY_PRECISION = pytest.mark.parametrize("precision", TOLERANCE)
CASTS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
DEVICE = "cuda"


def assert_close(ours, expected, precision):
    ours, expected = (torch.as_tensor(each).cpu() for each in (ours, expected))
    assert ours.dtype == torch.float32
    assert torch.isfinite(ours).all()
    assert (ours - expected).abs().max() < TOLERANCE[precision] * max(1.0, expected.std().item())
    assert F.cosine_similarity(ours, expected, dim=-1).min() > 0.99
