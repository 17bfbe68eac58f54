"""How many bits of fp32 a GPU's matrix products keep: all (`ieee`), or the 19 of TF32.

torch has one setting for the whole process, which callers may have set for work of their own. What
we compute does not depend on it, and it is as it was afterwards.
"""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def matmul_precision(precision: str | None, device: torch.device) -> Iterator[None]:
    """Products of fp32 matrices in this precision, on a GPU; a CPU knows no other than its own.

    Args:
        precision: `ieee` or `tf32`; None for what torch is set to.
        device: that they are computed on.
    """
    if precision is None or device.type != "cuda":
        yield
        return
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = precision
    try:
        yield
    finally:
        settings.fp32_precision = before
