"""Constants, marks and assertions for the tests that need a GPU."""

import os

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

RAGGED = (5120, 96_000, 20_001, 95_999, 320_000, 20_000, 171_717)
"""Window lengths in samples, 0.16 to 10 s: some pairs give the same number of patches."""
TOLERANCE = {"fp32": 1e-4, "tf32": 0.02, "fp16": 0.02, "bf16": 0.1}
"""Largest absolute error per precision, for outputs with a standard deviation up to one."""
DEVICE = os.environ.get("PASSTREAM_GPU_TESTS_ON", "cuda")
"""Device of the tests; `cpu` runs them without a GPU, except those marked with `needs_cuda`."""
EVERY_PRECISION = pytest.mark.parametrize(
    "precision", [each for each in TOLERANCE if (each, DEVICE) != ("tf32", "cpu")]
)
CASTS = pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
needs_device = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs CUDA"
)
needs_cuda = pytest.mark.skipif(
    DEVICE != "cuda" or not torch.cuda.is_available(), reason="needs CUDA"
)


def assert_close(ours, expected, precision):
    ours, expected = (torch.as_tensor(each).cpu() for each in (ours, expected))
    assert ours.dtype == torch.float32
    assert torch.isfinite(ours).all()
    assert (ours - expected).abs().max() < TOLERANCE[precision] * max(1.0, expected.std().item())
    assert F.cosine_similarity(ours, expected, dim=-1).min() > 0.99
