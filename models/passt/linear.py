"""Linear layers that use the fastest operator for inference, and torch's own for training.

In fp32 on a CPU torch's linear layer calls the BLAS that torch was built with. oneDNN, in the same
build, is about a tenth faster on some CPUs and applies GELU while the result is still in cache.
Weights in oneDNN's own layout are faster by another twentieth, and by a third for few tokens. They
are not parameters any more, so only a net that was converted for inference has them (see
`models.passt.precision`).

On a GPU in half precision cuBLASLt applies GELU in its tanh form. It differs from the exact GELU by
up to 5e-4, which moves embeddings by a fifth of what rounding to fp16 does.

The operators of oneDNN and cuBLASLt have no gradient. Parameters are those of `nn.Linear`.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.errors import ModelError

_ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


class Linear(nn.Linear):
    """`nn.Linear` with faster inference on CPUs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer: (..., in features) to (..., out features)."""
        if _can_use_onednn(inputs):
            return _onednn_linear(inputs, self.weight, self.bias, "none")
        return super().forward(inputs)


class LinearGelu(nn.Linear):
    """A linear layer followed by GELU, fused into one operator where one is available.

    GELU is exact, except on a GPU in half precision (see the module).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer and GELU: (..., in features) to (..., out features)."""
        if _can_use_onednn(inputs):
            return _onednn_linear(inputs, self.weight, self.bias, "gelu")
        if _can_use_cublaslt(inputs):
            return torch._addmm_activation(self.bias, inputs, self.weight.T, use_gelu=True)
        return F.gelu(super().forward(inputs))


class PackedLinear(nn.Module):
    """A `Linear` or `LinearGelu` for inference on a CPU, with its weight in oneDNN's layout.

    It returns the layer's outputs, faster. It is saved, loaded, copied and pickled like the layer.
    It cannot be moved to another device or cast to another dtype; an attempt raises a ModelError.

    Args:
        linear: The layer, in a dtype for which `can_pack` is true. Its weight is copied, its bias
            is shared.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._activation = "gelu" if isinstance(linear, LinearGelu) else "none"
        self._pack(linear)

    def unpack(self) -> nn.Linear:
        """Return the layer with a bit-exact copy of its weight; the bias is shared."""
        layer_class = LinearGelu if self._activation == "gelu" else Linear
        weight = self._weight.to_dense()
        with torch.device("meta"):
            linear = layer_class(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight, False), nn.Parameter(self._bias, False)
        return linear

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer: (..., in features) to (..., out features), in the layer's dtype.

        Raises:
            ModelError: `inputs` require a gradient.
        """
        refuse_gradients(inputs)
        inputs = inputs.to(self._bias.dtype)
        return _onednn_linear(inputs, self._weight, self._bias, self._activation)

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != "_weight"}
        return type(self), (self.unpack(),), state

    def _pack(self, linear: nn.Linear) -> None:
        # Neither a parameter nor a buffer: no other operator can read this layout.
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias.detach()

    def _save_to_state_dict(self, *args: Any) -> None:
        self.unpack()._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any) -> None:
        # The unpacked layer loads, so that it reports missing keys and wrong shapes.
        linear = self.unpack()
        linear._load_from_state_dict(*args)
        self._pack(linear.to(self._bias.dtype))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        converted = fn(self._bias)
        if (converted.device, converted.dtype) != (self._bias.device, self._bias.dtype):
            raise ModelError(
                f"this net was converted for inference (`models.passt.precision.convert`) on "
                f"{self._bias.device} in {self._bias.dtype} and cannot be moved to "
                f"{converted.device} in {converted.dtype}; make a new net from its state dict"
            )
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]


def refuse_gradients(inputs: Tensor) -> None:
    """Raise an error if a gradient would silently be lost.

    Raises:
        ModelError: Gradients are enabled and `inputs` require one.
    """
    if torch.is_grad_enabled() and inputs.requires_grad:
        raise ModelError(
            "this net was converted for inference (`models.passt.precision.convert`) and its "
            "layers have no gradient; train a net that was not converted, or compute under "
            "torch.no_grad()"
        )


def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this CPU can compute `PackedLinear` layers of a dtype."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _can_use_onednn(inputs: Tensor) -> bool:
    return (
        inputs.device.type == "cpu"
        and inputs.dtype in _ONEDNN_DTYPES
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )


def _can_use_cublaslt(inputs: Tensor) -> bool:
    return (
        inputs.is_cuda
        and inputs.ndim == 2
        and inputs.dtype in (torch.float16, torch.bfloat16)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cuda")
    )


def _onednn_linear(inputs: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    # The GELU algorithm "none" is the exact GELU, with erf; "tanh" would approximate it.
    algorithm = "none" if activation == "gelu" else ""
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
        inputs, weight, bias, activation, [], algorithm
    )
    return outputs
