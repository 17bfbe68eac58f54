"""What a PaSST computes in: fp32, bf16, fp16, or int8 on a CPU.

Only the blocks and the patch embedding change; the front end and the output (last norm, head) stay
fp32. int8 quantizes the linear layers of the blocks: weights once, per output channel; activations
in every call, by their range. On trained weights each costs a little fidelity, which a run measures
on its own audio (see `models.fidelity`).
"""

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.passt import PaSST

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_QUANTIZED_ENGINE = "onednn"


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what cannot be had.

    Raises:
        ModelError: no such precision, or int8 on something else than a CPU.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
    if precision == "int8":
        if device.type != "cpu":
            raise ModelError(f"precision int8 runs on a CPU only (got {device}); take bf16 there")
        if _QUANTIZED_ENGINE not in torch.backends.quantized.supported_engines:
            raise ModelError("precision int8: this torch has no oneDNN; take bf16 or fp32")


def convert(net: PaSST, precision: str) -> PaSST:
    """Turn an fp32 net into one of another precision, in place; the net itself.

    Raises:
        ModelError: the precision cannot be had on the net's device.
    """
    check_precision(precision, net.cls_token.device)
    if precision == "int8":
        for block in net.blocks:
            for parent, name in (
                (block.attn, "qkv"),
                (block.attn, "proj"),
                (block.mlp, "fc1"),
                (block.mlp, "fc2"),
            ):
                setattr(parent, name, Int8Linear(getattr(parent, name)))
    elif precision in _DTYPES:
        dtype = _DTYPES[precision]
        net.blocks.to(dtype)
        net.patch_embed.to(dtype)
        for name in ("cls_token", "dist_token", "new_pos_embed"):
            _recast(net, name, dtype)
        _recast(net, "freq_new_pos_embed", dtype)
        _recast(net, "time_new_pos_embed", dtype)
    return net


def _recast(net: PaSST, name: str, dtype: torch.dtype) -> None:
    parameter = getattr(net, name)
    setattr(net, name, nn.Parameter(parameter.to(dtype), requires_grad=parameter.requires_grad))


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and activations, and float32 on both sides.

    Args:
        linear: the layer to quantize.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
        zeros = torch.zeros(len(scales), dtype=torch.long)
        quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        torch.backends.quantized.engine = _QUANTIZED_ENGINE
        self._packed = torch.ops.quantized.linear_prepack(quantized, linear.bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        """(tokens, in features) to (tokens, out features)."""
        outputs: Tensor = torch.ops.quantized.linear_dynamic(inputs, self._packed)
        return outputs
