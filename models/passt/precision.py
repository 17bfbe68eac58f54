"""The precisions that a PaSST can compute in: fp32, bf16, fp16, tf32 on a GPU, or int8 on a CPU.

Only the blocks, the patch embedding, and the special tokens and positions change. The front end and
the output (last norm and classifier) stay fp32. tf32 is fp32 whose matrix products round their
factors to 10 fraction bits. int8 quantizes the linear layers of the blocks: weights once,
activations in every call.

On trained weights each reduced precision costs a little fidelity, which a run measures on its own
audio (see `models.inference.fidelity`). A converted net is for inference only: on a CPU the weights
of its linear layers are stored in the layout of oneDNN, also in fp32.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.errors import ModelError
from models.passt.blocks import Block
from models.passt.linear import LinearGelu, PackedLinear, can_pack, refuse_gradients
from models.passt.transformer import PaSST

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_INT8_MAX = 127
"""Largest magnitude of a quantized number; -128 is not used, so that scales are symmetric."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raise an error if a device cannot compute in a precision.

    Raises:
        ModelError: The precision is unknown, or `device` does not support it: int8 needs a CPU,
            tf32 a GPU.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
    if precision == "int8" and device.type != "cpu":
        raise ModelError(f"precision int8 runs on a CPU only (got {device}); take bf16 there")
    if precision == "tf32" and device.type == "cpu":
        raise ModelError("precision tf32 runs on a GPU only (got cpu); take fp32 or bf16 here")


def convert(net: PaSST, precision: str) -> PaSST:
    """Convert an fp32 net for inference in a precision, in place, and return it.

    Args:
        net: The net, on the device that will compute.
        precision: One of `PRECISIONS`.

    Raises:
        ModelError: The net's device does not support the precision, or the net was already
            converted.
    """
    device = net.cls_token.device
    check_precision(precision, device)
    if any(isinstance(layer, PackedLinear | Int8Linear) for layer in net.modules()):
        raise ModelError(
            f"this net has been converted already; for {precision} convert a new net, made from "
            "the state dict"
        )
    if precision == "int8":
        _replace_linears(net, Int8Linear)
        return net.requires_grad_(False)
    dtype = _DTYPES.get(precision, torch.float32)
    if dtype != torch.float32:
        net.blocks.to(dtype)
        net.patch_embed.to(dtype)
        for name, parameter in list(net.named_parameters(recurse=False)):
            setattr(net, name, nn.Parameter(parameter.to(dtype)))
    if device.type == "cpu" and can_pack(dtype):
        _replace_linears(net, PackedLinear)
    return net.requires_grad_(False)


def _replace_linears(net: PaSST, make_layer: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace the linear layers of all blocks by layers made from them."""
    for block in net.blocks:
        assert isinstance(block, Block)
        for parent, names in ((block.attn, ("qkv", "proj")), (block.mlp, ("fc1", "fc2"))):
            for name in names:
                setattr(parent, name, make_layer(getattr(parent, name)))


class Int8Linear(nn.Module):
    """A `Linear` or `LinearGelu` with int8 weights and activations, and float32 inputs and outputs.

    Scales are symmetric. Weights have one scale per output channel. Activations have one scale per
    token, so that a loud token does not cost the others precision.

    Args:
        linear: The layer to quantize.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = _scales(weight)
        self.register_buffer("weight", (weight / scale).round_().to(torch.int8).t().contiguous())
        self.register_buffer("scale", scale.squeeze(1))
        self.register_buffer("bias", linear.bias.detach())
        self._has_gelu = isinstance(linear, LinearGelu)

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer: (tokens, in features) to (tokens, out features).

        Raises:
            ModelError: `inputs` require a gradient.
        """
        refuse_gradients(inputs)
        scale = _scales(inputs)
        rounded = (inputs / scale).round_().to(torch.int8)
        products: Tensor = torch._int_mm(rounded, self.weight).float()
        outputs = products.mul_(scale).mul_(self.scale).add_(self.bias)
        return F.gelu(outputs) if self._has_gelu else outputs


def _scales(rows: Tensor) -> Tensor:
    return rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12) / _INT8_MAX
