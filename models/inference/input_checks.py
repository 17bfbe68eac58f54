"""Checks of audio before it reaches a model: shape, type, sample rate, values and length.

Without these checks wrong audio would become an embedding that looks like any other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.archs import SAMPLE_RATE_HZ, ArchSpec
from models.errors import WindowError


def check_clips(audio: Tensor | Sequence[Tensor], sample_rate: int | None = None) -> list[Tensor]:
    """Check clips and return each as float32 (n_samples,).

    Args:
        audio: Clips as one tensor (n_sounds, n_samples), or as a list of tensors (n_samples,) of
            any lengths.
        sample_rate: Sample rate of the audio in Hz; None if the caller does not know it.

    Raises:
        WindowError: The rank, type, rate or a value is wrong. The message names a remedy.
    """
    if isinstance(audio, list | tuple):
        return [check_samples(clip, 1, "a clip in a list", sample_rate) for clip in audio]
    return list(check_batch(audio, sample_rate))  # type: ignore[arg-type]


def check_batch(audio: Tensor, sample_rate: int | None = None) -> Tensor:
    """Check a batch of clips and return it as float32 (n_sounds, n_samples).

    Args:
        audio: Clips of one length, (n_sounds, n_samples).
        sample_rate: Sample rate of the audio in Hz; None if the caller does not know it.

    Raises:
        WindowError: The rank, type, rate or a value is wrong. The message names a remedy.
    """
    return check_samples(audio, 2, "audio", sample_rate)


def check_samples(audio: Tensor, rank: int, name: str, sample_rate: int | None) -> Tensor:
    """Check audio of a given rank and return it as float32.

    Args:
        audio: Audio in [-1, 1]; the last dimension is time.
        rank: Number of dimensions that the audio must have, 1 or 2.
        name: Name of the audio in messages.
        sample_rate: Sample rate of the audio in Hz; None if the caller does not know it.

    Raises:
        WindowError: The rank, type, rate or a value is wrong. The message names a remedy.
    """
    if not isinstance(audio, Tensor):
        raise WindowError(
            f"{name} must be a torch tensor (got {type(audio).__name__}); for numpy arrays use "
            "torch.from_numpy(audio)"
        )
    if sample_rate not in (None, SAMPLE_RATE_HZ):
        raise WindowError(
            f"{name} must be at {SAMPLE_RATE_HZ} Hz (got {sample_rate}); resample it, for example "
            f"with torchaudio.functional.resample(audio, {sample_rate}, {SAMPLE_RATE_HZ})"
        )
    if audio.ndim != rank:
        shape = "(n_sounds, n_samples)" if rank == 2 else "(n_samples,)"
        raise WindowError(
            f"{name} must be of shape {shape} (got {tuple(audio.shape)}); one mono clip is "
            "audio.unsqueeze(0), channels are averaged by audio.mean(dim=0)"
        )
    if not audio.is_floating_point():
        raise WindowError(
            f"{name} must be floating point in [-1, 1] (got {audio.dtype}); convert 16-bit samples "
            "with audio.float() / 32768"
        )
    if not torch.isfinite(audio).all():
        where = torch.nonzero(~torch.isfinite(audio))[0].tolist()
        raise WindowError(f"{name} is NaN or infinite at {where}; repair or leave out the clip")
    return audio.float()


def check_length(n_samples: int, spec: ArchSpec) -> None:
    """Raise an error if the arch cannot embed a window of this length in one forward.

    Raises:
        WindowError: The window is too short for one patch, or too long for the arch's time
            positions.
    """
    if n_samples < spec.min_samples:
        raise WindowError(
            f"{n_samples} samples are too short for arch {spec.name!r}: one patch takes "
            f"{spec.min_samples} ({spec.min_samples / SAMPLE_RATE_HZ:.4f} s); pad the clip with "
            "zeros"
        )
    if n_samples > spec.max_samples:
        raise WindowError(
            f"{n_samples} samples ({n_samples / SAMPLE_RATE_HZ:.2f} s) are too long for arch "
            f"{spec.name!r}, which takes {spec.max_samples} ({spec.max_window_s:g} s): "
            "get_scene_embeddings cuts long clips into windows, and passt_20sec and passt_30sec "
            "take longer ones"
        )
