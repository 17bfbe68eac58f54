"""A net and its front end as one module, in which either part can be replaced safely.

A part that is set moves to the module's device and takes over its training state. The front end is
compared with the net's arch before embeddings are computed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from models.errors import ModelError
from models.passt.preprocess import AugmentMelSTFT, check_front_end
from models.passt.transformer import PaSST


class NetWithFrontEnd(nn.Module):
    """A net and its log-mel front end, on one device; it starts in evaluation mode.

    Args:
        mel: The front end.
        net: The transformer.
    """

    mel: AugmentMelSTFT
    net: PaSST

    def __init__(self, mel: AugmentMelSTFT, net: PaSST) -> None:
        super().__init__()
        self.eval()
        self.net = net
        self.mel = mel

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; `net` and `mel` get the module's device and training state.

        Raises:
            ModelError: The value for `net` or `mel` has the wrong class.
        """
        part_classes: dict[str, type[nn.Module]] = {"net": PaSST, "mel": AugmentMelSTFT}
        if part_class := part_classes.get(name):
            if not isinstance(value, part_class):
                raise ModelError(
                    f"{name} must be a {part_class.__name__} (got {type(value).__name__})"
                )
            value.train(self.training)
            if "net" in self._modules:
                value.to(self.device)
        super().__setattr__(name, value)

    @property
    def device(self) -> torch.device:
        """Device of the net."""
        return self.net.cls_token.device

    @contextlib.contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        """Switch to evaluation without gradients, and restore the training states at the end.

        Raises:
            FrontEndError: The front end does not match the net's arch.
        """
        check_front_end(self.mel, self.net.spec)
        # The states of submodules may differ: a caller may train the net alone, with the front end
        # in evaluation mode.
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True
