"""The choice between torch's operators and our own Triton kernels on a GPU.

With our kernels the matrix products accumulate into the tokens, so no residual is added in a pass
of its own. The products leave out their biases, which are added within the norms that follow. This
is estimated to save a fourteenth of a forward's time; it has not been measured on a GPU yet.

`models.passt.kernels` needs Triton and a C compiler, with which Triton builds its launchers. On a
GPU where the kernels do not run, torch's operators compute everything, as on a CPU, and one warning
reports it.
"""

import functools
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.errors import first_line
from models.passt.pack_layout import FrameSlots


def can_fuse(inputs: Tensor, layers: Iterable[nn.Module], classes: Iterable[type]) -> bool:
    """Return whether our kernels may replace the calls of some layers.

    Args:
        inputs: Input of the layers.
        layers: Layers that would not be called. Layers with hooks cannot be replaced.
        classes: Class that each layer must have. Instances of subclasses cannot be replaced: they
            may compute something else, such as an adapted weight.
    """
    device = inputs.device
    if torch.is_grad_enabled() or not has_kernels(device):
        return False
    # Triton launches kernels on the process's current device.
    if device.type == "cuda" and device.index not in (None, torch.cuda.current_device()):
        return False
    if torch.is_autocast_enabled(device.type):
        return False
    return all(
        type(layer) is expected and not layer._forward_hooks and not layer._forward_pre_hooks
        for layer, expected in zip(layers, classes, strict=True)
    )


@functools.cache
def has_kernels(device: torch.device) -> bool:
    """Return whether our kernels run on a device, and warn if they fail on a GPU.

    The kernels are tried once per process and device.
    """
    if device.type != "cuda":
        return False
    try:
        _try_kernels(device)
    except Exception as error:  # from Triton, the C compiler or the driver
        warnings.warn(
            f"Triton kernels do not run on {device}; torch's operators are used instead, which is "
            f"slower: {first_line(error)}",
            stacklevel=2,
        )
        return False
    return True


def _try_kernels(device: torch.device) -> None:
    """Launch each kernel once on a little data, and raise an exception if it fails.

    Args:
        device: Device that is not capturing a CUDA graph.
    """
    from models.passt import kernels

    with torch.device(device):
        rows, zero = torch.zeros(2, 768, dtype=torch.float16), torch.zeros(1, dtype=torch.int32)
        for deferred in (None, torch.zeros(768)):
            kernels.norm(rows, deferred, rows[0], rows[0], 1e-6)
        slots = FrameSlots(zero, zero, torch.full((1,), 2000, dtype=torch.int32))
        kernels.cut_frames(torch.zeros(2000), zero, slots, torch.zeros(1024), 0.97, 1)
        kernels.power(torch.zeros(1, 513, dtype=torch.complex64))
        bands = kernels.log_in_place(torch.ones(16, 128), 1e-5, 4.5, 5.0)
        copies = kernels.copy_patches(bands, zero.long(), 12, 10, 16, torch.float16)
        vectors, patch_tokens = copies.new_zeros(1, 12, 768), torch.arange(2, 14)
        special_tokens = torch.arange(2)
        kernels.place_tokens(vectors, vectors, zero.long(), patch_tokens, rows, special_tokens)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
