"""The precision of fp32 matrix products on a GPU: all bits (`ieee`), or the 19 bits of TF32.

torch has one setting for the whole process, which the caller may have set for other work. Our
results do not depend on the caller's setting, and the setting is restored afterwards.
"""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def matmul_precision(precision: str | None, device: torch.device) -> Iterator[None]:
    """Set the precision of fp32 matrix products on a GPU within the block.

    Args:
        precision: `ieee` or `tf32`; None keeps torch's current setting.
        device: Device that computes the products. On a CPU the setting is not changed.
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
