"""Nets and models by arch name, as the reference offers them, with its argument names.

What the reference's caller has to pair by hand (strides, input size, front end) belongs to the arch
here; an argument may repeat it, and a different value is refused.
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
    """A PaSST in evaluation mode.

    Args:
        arch: name of the arch.
        pretrained: load `weights`; otherwise start from random parameters.
        n_classes: width of the head; None for the arch's. Another one gets a new random head.
        in_channels: 1.
        fstride: the arch's, or None.
        tstride: the arch's, or None.
        input_fdim: 128.
        input_tdim: the arch's, or None.
        u_patchout: patches that training drops of the sequence.
        s_patchout_t: columns of the patch grid that training drops.
        s_patchout_f: rows of the patch grid that training drops.
        weights: as `models.checkpoints.state_dict.load_weights` takes them.

    Raises:
        ModelError: no such arch, a value that is not the arch's, or weights that are not.
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
    ours = replace(spec, n_classes=n_classes or spec.n_classes)
    patchout = Patchout(u_patchout, s_patchout_t, s_patchout_f)
    if not pretrained:
        return init_parameters(PaSST(ours, patchout))
    net = PaSST.from_state_dict(spec, load_weights(weights, spec).state_dict, patchout)
    if ours.n_classes != spec.n_classes:
        net.reset_classifier(ours.n_classes)
    return net


def get_basic_model(
    mode: str = "all",
    arch: str = DEFAULT_ARCH,
    pretrained: bool = True,
    weights: str = "auto",
    **options: Any,
) -> PasstWrapper:
    """A net with its front end, which takes waves; in evaluation mode, on the CPU.

    Args:
        mode: `all` (logits, then features), `embed_only` or `logits`.
        arch: name of the arch.
        pretrained: as `get_model_passt`.
        weights: as `get_model_passt`.
        options: of `models.hear.wrapper.PasstWrapper`; the windows default to the arch's.

    Raises:
        ModelError: as `get_model_passt`, or an option that cannot be.
    """
    spec = arch_spec(arch)
    windows = {
        "max_model_window": spec.max_window_s * 1000,
        "scene_hop": spec.scene_hop_s * 1000,
    }
    net = get_model_passt(arch, pretrained, weights=weights)
    return PasstWrapper(front_end(spec), net, mode=mode, **(windows | options))


def front_end(spec: ArchSpec) -> AugmentMelSTFT:
    """The front end of an arch."""
    return AugmentMelSTFT(hopsize=spec.hop_samples)
