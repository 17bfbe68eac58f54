"""The package hear21passt as the reference of benchmarks; imported only if it is asked for."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from models.errors import ModelError
from models.hear.wrapper import PasstWrapper

REFERENCE = "hear21passt"


def load_reference(model: PasstWrapper, device: torch.device) -> Any:
    """Load hear21passt's wrapper around its own net and front end, with the weights of our model.

    Args:
        model: Model whose weights, arch and window lengths the reference takes over.
        device: Device on which the reference runs.

    Raises:
        ModelError: hear21passt is not installed, or does not have this arch.
    """
    with suppress_output():
        try:
            from hear21passt.models.passt import get_model
            from hear21passt.models.preprocess import AugmentMelSTFT
            from hear21passt.wrapper import PasstBasicWrapper
        except ImportError as error:
            raise ModelError(
                f"{REFERENCE} cannot be imported ({error}): pip install {REFERENCE}"
            ) from error
        spec = model.net.spec
        settings = {"fstride": spec.stride, "tstride": spec.stride, "input_tdim": spec.input_tdim}
        try:
            net = get_model(arch=spec.name, pretrained=False, n_classes=spec.n_classes, **settings)
        except RuntimeError as error:
            raise ModelError(f"{REFERENCE} has no arch {spec.name!r}") from error
        net.load_state_dict(model.net.state_dict())
        mel = AugmentMelSTFT(
            hopsize=spec.hop_samples, fmax=None, fmin_aug_range=10, fmax_aug_range=2000
        )
        wrapper = PasstBasicWrapper(
            mel=mel,
            net=net,
            max_model_window=spec.max_window_s * 1000,
            scene_hop=spec.scene_hop_s * 1000,
        )
        return wrapper.eval().to(device)


@contextlib.contextmanager
def suppress_output() -> Iterator[None]:
    """Open a block without hear21passt's prints, and its warnings for clips other than 10 s."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
