"""Linear layers that take the fastest way there is for inference; training takes torch's own.

For fp32 on a CPU torch's own linear layer calls the BLAS it was built with; oneDNN, which is in
the same build, is about a tenth faster on some CPUs and applies GELU while the result is still in
cache. On a GPU in half precision cuBLASLt applies it there, in its tanh form: up to 5e-4 off the
exact one, which moves embeddings by a fifth of what rounding to fp16 does. These operators have no
gradient. Parameters are those of `nn.Linear`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

_ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


class Linear(nn.Linear):
    """`nn.Linear` with a faster inference on CPUs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in features) to (..., out features)."""
        if _takes_onednn(inputs):
            return _onednn(inputs, self, "none")
        return super().forward(inputs)


class LinearGelu(nn.Linear):
    """A linear layer and the exact GELU after it, in one step where that can be had."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in features) to (..., out features)."""
        if _takes_onednn(inputs):
            return _onednn(inputs, self, "gelu")
        if _takes_cublaslt(inputs):
            return torch._addmm_activation(self.bias, inputs, self.weight.T, use_gelu=True)
        return F.gelu(super().forward(inputs))


def _takes_onednn(inputs: Tensor) -> bool:
    return (
        inputs.device.type == "cpu"
        and inputs.dtype in _ONEDNN_DTYPES
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )


def _takes_cublaslt(inputs: Tensor) -> bool:
    return (
        inputs.is_cuda
        and inputs.ndim == 2
        and inputs.dtype in (torch.float16, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cuda")
    )


def _onednn(inputs: Tensor, layer: nn.Linear, then: str) -> Tensor:
    # "none" as the algorithm of GELU is the exact one, by erf.
    algorithm = "none" if then == "gelu" else ""
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
        inputs, layer.weight, layer.bias, then, [], algorithm
    )
    return outputs
