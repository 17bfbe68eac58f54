"""Linear layers that take the fastest way there is for inference; training takes torch's own.

For fp32 on a CPU torch's own linear layer calls the BLAS it was built with; oneDNN, which is in
the same build, is about a tenth faster on some CPUs and applies GELU while the result is still in
cache. It is faster by another twentieth, and by a third where tokens are few, with weights laid out
as it reads them; those are no parameters any more, so only a net that nobody trains has them.
On a GPU in half precision cuBLASLt applies GELU, in its tanh form: up to 5e-4 off the exact one,
which moves embeddings by a fifth of what rounding to fp16 does. These operators have no gradient.
Parameters are those of `nn.Linear`.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.errors import ModelError

_ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


class Linear(nn.Linear):
    """`nn.Linear` with a faster inference on CPUs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in features) to (..., out features)."""
        if _takes_onednn(inputs):
            return _onednn(inputs, self.weight, self.bias, "none")
        return super().forward(inputs)


class LinearGelu(nn.Linear):
    """A linear layer and the exact GELU after it, in one step where that can be had."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in features) to (..., out features)."""
        if _takes_onednn(inputs):
            return _onednn(inputs, self.weight, self.bias, "gelu")
        if _takes_cublaslt(inputs):
            return torch._addmm_activation(self.bias, inputs, self.weight.T, use_gelu=True)
        return F.gelu(super().forward(inputs))


class PackedLinear(nn.Module):
    """A `Linear` or `LinearGelu` for inference on a CPU alone: the same outputs, sooner.

    It is saved, loaded, copied and pickled as the layer would be, and stays where and what it is:
    moved or cast, it raises a ModelError.

    Args:
        linear: the layer, of a dtype that `can_pack`; its weight is copied, its bias shared.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._then = "gelu" if isinstance(linear, LinearGelu) else "none"
        self._take(linear)

    def unpacked(self) -> nn.Linear:
        """The layer, its weight copied back to the last bit, its bias shared."""
        kind = LinearGelu if self._then == "gelu" else Linear
        weight = self._weight.to_dense()
        with torch.device("meta"):
            linear = kind(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight, False), nn.Parameter(self._bias, False)
        return linear

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in features) to (..., out features), in the layer's dtype.

        Raises:
            ModelError: a gradient is asked for.
        """
        refuse_gradients(inputs)
        return _onednn(inputs.to(self._bias.dtype), self._weight, self._bias, self._then)

    def __reduce__(self) -> tuple[Any, ...]:
        rest = {name: value for name, value in self.__dict__.items() if name != "_weight"}
        return type(self), (self.unpacked(),), rest

    def _take(self, linear: nn.Linear) -> None:
        # Neither a parameter nor a buffer: there is nothing that could be done with its layout.
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias.detach()

    def _save_to_state_dict(self, *args: Any) -> None:
        self.unpacked()._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any) -> None:
        # What is missing or misshapen, the plain layer says.
        linear = self.unpacked()
        linear._load_from_state_dict(*args)
        self._take(linear.to(self._bias.dtype))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        to = fn(self._bias)
        if (to.device, to.dtype) != (self._bias.device, self._bias.dtype):
            raise ModelError(
                f"this net was converted for inference (`models.passt.precision.convert`) on the "
                f"{self._bias.device} in {self._bias.dtype}, and cannot become one on {to.device} "
                f"in {to.dtype}: make a new one from its state dict"
            )
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]


def refuse_gradients(inputs: Tensor) -> None:
    """Raise where a gradient would be lost in silence.

    Raises:
        ModelError: one is asked for.
    """
    if torch.is_grad_enabled() and inputs.requires_grad:
        raise ModelError(
            "this net was converted for inference (`convert`), its layers pass no "
            "gradient on; train one that was not, or compute under torch.no_grad()"
        )


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this CPU computes `PackedLinear` layers of this dtype."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


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


def _onednn(inputs: Tensor, weight: Tensor, bias: Tensor, then: str) -> Tensor:
    # "none" as the algorithm of GELU is the exact one, by erf.
    algorithm = "none" if then == "gelu" else ""
    outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, then, [], algorithm)
    return outputs
