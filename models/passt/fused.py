"""Where a net takes kernels of its own in place of torch's operators, and which.

On a GPU a residual is never added by itself: the products accumulate into the tokens, and the
biases that they leave out are added within the norms that follow. By count that saves a fourteenth
of a forward's time; no GPU has measured it yet. It needs `models.passt.kernels`, so Triton and a C
compiler, which Triton builds its launchers with; where the kernels do not run, all is computed by
torch's operators as on a CPU, and a warning says so once.
"""

import functools
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.errors import first_line


def can_fuse(inputs: Tensor, layers: Iterable[nn.Module], kinds: Iterable[type]) -> bool:
    """Return whether kernels may compute on a tensor what layers would.

    Args:
        inputs: Tensor that goes into the layers.
        layers: The layers that would not be called.
        kinds: The class that each of them must be of, and not a subclass: others, as those that
            adapt a weight, compute something else.
    """
    device = inputs.device
    if torch.is_grad_enabled() or not has_kernels(device):
        return False
    # Triton launches on the process's current device.
    if device.type == "cuda" and device.index not in (None, torch.cuda.current_device()):
        return False
    if torch.is_autocast_enabled(device.type):
        return False
    return all(
        type(layer) is kind and not layer._forward_hooks and not layer._forward_pre_hooks
        for layer, kind in zip(layers, kinds, strict=True)
    )


@functools.cache
def has_kernels(device: torch.device) -> bool:
    """Return whether `kernels` run on a device; what is found holds for the process."""
    if device.type != "cuda":
        return False
    try:
        _try_kernels(device)
    except Exception as error:  # of Triton, of a compiler, of a driver
        warnings.warn(
            f"kernels of Triton do not run on {device}, so that it computes more slowly by torch's "
            f"operators: {first_line(error)}",
            stacklevel=2,
        )
        return False
    return True


def _try_kernels(device: torch.device) -> None:
    from models.passt.kernels import try_all

    try_all(device)
