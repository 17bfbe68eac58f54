"""The reference's functions that build nets and models by arch name, with its argument names.

In the reference, callers choose strides, input size and front end to match the arch. Here the arch
determines them: an argument may repeat the arch's value, and any other value raises an error.
"""

from dataclasses import replace
from typing import Any

from models.archs import DEFAULT_ARCH, N_MELS, ArchSpec, arch_spec
from models.checkpoints.state_dict import load_weights
from models.errors import ModelError
from models.hear.wrapper import PasstWrapper
from models.passt.patchout import Patchout
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST, init_parameters


def get_model_passt(
    arch: str = "passt_s_kd_p16_128_ap486",
    pretrained: bool = True,
    n_classes: int | None = None,
    in_channels: int = 1,
    fstride: int | None = None,
    tstride: int | None = None,
    input_fdim: int = N_MELS,
    input_tdim: int | None = None,
    u_patchout: int = 0,
    s_patchout_t: int = 0,
    s_patchout_f: int = 0,
    weights: str = "auto",
) -> PaSST:
    """Build a PaSST net in evaluation mode, on the CPU.

    Args:
        arch: Name or alias of the arch.
        pretrained: Load `weights`; otherwise initialize the parameters randomly.
        n_classes: Width of the head; None for the arch's. Another width gets a new random head.
        in_channels: Number of input channels; must be 1.
        fstride: Patch stride over mel bands; None or the arch's.
        tstride: Patch stride over frames; None or the arch's.
        input_fdim: Number of mel bands; must be 128.
        input_tdim: Number of frames of the time positions; None or the arch's.
        u_patchout: Number of single patches that training drops.
        s_patchout_t: Number of columns of the patch grid (time) that training drops.
        s_patchout_f: Number of rows of the patch grid (frequency) that training drops.
        weights: Weights to load, as for `models.checkpoints.state_dict.load_weights`.

    Raises:
        ModelError: The arch is unknown, an argument contradicts it or is out of range, or the
            weights cannot be loaded or do not belong to it.
    """
    spec = arch_spec(arch)
    for name, value, expected in (
        ("in_channels", in_channels, 1),
        ("fstride", fstride, spec.stride),
        ("tstride", tstride, spec.stride),
        ("input_fdim", input_fdim, N_MELS),
        ("input_tdim", input_tdim, spec.input_tdim),
    ):
        if value not in (None, expected):
            raise ModelError(f"{name} must be {expected} for arch {arch!r} (got {value})")
    if n_classes is not None and n_classes < 1:
        raise ModelError(f"n_classes must be at least 1 (got {n_classes})")
    net_spec = replace(spec, n_classes=n_classes or spec.n_classes)
    patchout = Patchout(u_patchout, s_patchout_t, s_patchout_f)
    if not pretrained:
        return init_parameters(PaSST(net_spec, patchout))
    net = PaSST.from_state_dict(spec, load_weights(weights, spec).state_dict, patchout)
    if net_spec.n_classes != spec.n_classes:
        net.reset_classifier(net_spec.n_classes)
    return net


def get_basic_model(
    mode: str = "all",
    arch: str = DEFAULT_ARCH,
    pretrained: bool = True,
    weights: str = "auto",
    **options: Any,
) -> PasstWrapper:
    """Build a model that takes waveforms: a net with its front end, in evaluation mode on the CPU.

    Args:
        mode: Outputs of the model: `all` (logits, then features), `embed_only` (features) or
            `logits`.
        arch: Name or alias of the arch.
        pretrained: Load `weights`; otherwise initialize the parameters randomly.
        weights: Weights to load, as for `models.checkpoints.state_dict.load_weights`.
        options: Further arguments of `models.hear.wrapper.PasstWrapper`. `max_model_window` and
            `scene_hop` default to the arch's.

    Raises:
        ModelError: The arch is unknown, the weights cannot be loaded or do not belong to it, or
            an option is invalid.
    """
    spec = arch_spec(arch)
    windows = {
        "max_model_window": spec.max_window_s * 1000,
        "scene_hop": spec.scene_hop_s * 1000,
    }
    net = get_model_passt(arch, pretrained, weights=weights)
    return PasstWrapper(front_end(spec), net, mode=mode, **(windows | options))


def front_end(spec: ArchSpec) -> AugmentMelSTFT:
    """Build the log-mel front end of an arch."""
    return AugmentMelSTFT(hopsize=spec.hop_samples)
