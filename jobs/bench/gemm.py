"""Matrix products with as many FLOPs as a model, as a measure of what the device can do."""

from __future__ import annotations

import torch

from jobs.bench.benchmark import Implementation
from models.passt.matmul_precision import matmul_precision

GEMM = "the same FLOPs as one GEMM"
BF16_GEMM = "the same FLOPs as bf16 GEMMs"
_MAX_SIZE = 8192
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def gemm_baselines(flops: float, device: torch.device, precision: str) -> dict[str, Implementation]:
    """Return functions by name that multiply random square matrices: in a precision, and in bf16.

    Args:
        flops: Floating-point operations of one call of a function.
        device: Device that computes the products.
        precision: Precision of the first function; `int8` is computed in fp32.
    """
    baselines = {GEMM: _gemms(flops, device, precision)}
    if precision != "bf16":
        baselines[BF16_GEMM] = _gemms(flops, device, "bf16")
    return baselines


def _gemms(flops: float, device: torch.device, precision: str) -> Implementation:
    size = min(_MAX_SIZE, round((flops / 2) ** (1 / 3)))
    n_products = max(1, round(flops / (2 * size**3)))
    dtype = _DTYPES.get(precision, torch.float32)
    # Matrices of zeros or ones would be faster: a chip that toggles fewer bits runs cooler.
    left, right, out = (
        torch.randn(size, size, dtype=torch.float32, device=device).to(dtype) for _ in range(3)
    )
    fp32_precision = "tf32" if precision == "tf32" else "ieee"

    def run() -> None:
        with matmul_precision(fp32_precision, device):
            for _ in range(n_products):
                torch.mm(left, right, out=out)

    return run
