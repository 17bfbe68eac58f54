"""What a PaSST computes in: fp32, bf16, fp16, tf32 on a GPU, or int8 on a CPU.

Only the blocks and the patch embedding change; the front end and the output (last norm, head) stay
fp32. tf32 is fp32 whose matrix products round their factors to 10 bits behind the point. int8
quantizes the linear layers of the blocks: weights once, activations in every call. On
trained weights each costs a little fidelity, which a run measures on its own audio (see
`fidelity`). A converted net is for inference: on a CPU the weights of its linear layers are
laid out for the processor, in fp32 too.
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


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what cannot be had.

    Raises:
        ModelError: no such precision, int8 on something else than a CPU, or tf32 on one.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
    if precision == "int8" and device.type != "cpu":
        raise ModelError(f"precision int8 runs on a CPU only (got {device}); take bf16 there")
    if precision == "tf32" and device.type == "cpu":
        raise ModelError("precision tf32 runs on a GPU only (got cpu); take fp32 or bf16 here")


def convert(net: PaSST, precision: str) -> PaSST:
    """Turn an fp32 net into one for inference in some precision, in place; the net itself.

    Args:
        net: on the device where it is to compute.
        precision: one of `PRECISIONS`.

    Raises:
        ModelError: the precision cannot be had on the net's device, or the net has been converted.
    """
    device = net.cls_token.device
    check_precision(precision, device)
    if any(isinstance(layer, PackedLinear | Int8Linear) for layer in net.modules()):
        raise ModelError(
            f"this net has been converted already; for {precision} convert a new one, made from "
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


def _replace_linears(net: PaSST, by: Callable[[nn.Linear], nn.Module]) -> None:
    """Put something in the place of the linear layers of the blocks."""
    for block in net.blocks:
        assert isinstance(block, Block)
        for parent, names in ((block.attn, ("qkv", "proj")), (block.mlp, ("fc1", "fc2"))):
            for name in names:
                setattr(parent, name, by(getattr(parent, name)))


class Int8Linear(nn.Module):
    """A `Linear` or `LinearGelu` with int8 weights and activations, and float32 on both sides.

    Scales are symmetric: of a weight per output channel, of an activation per token, so that one
    loud token costs the others nothing.

    Args:
        linear: the layer to quantize.
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
        """(tokens, in features) to (tokens, out features)."""
        refuse_gradients(inputs)
        scale = _scales(inputs)
        rounded = (inputs / scale).round_().to(torch.int8)
        products: Tensor = torch._int_mm(rounded, self.weight).float()
        outputs = products.mul_(scale).mul_(self.scale).add_(self.bias)
        return F.gelu(outputs) if self._has_gelu else outputs


def _scales(rows: Tensor) -> Tensor:
    return rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-12) / _INT8_MAX
