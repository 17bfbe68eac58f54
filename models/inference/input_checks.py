"""What is refused before it reaches a model: audio of a wrong shape, type, rate, value or length.

Each of these would otherwise become an embedding that looks like any other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.archs import SAMPLE_RATE_HZ, ArchSpec
from models.errors import WindowError


def check_clips(audio: Tensor | Sequence[Tensor], sample_rate: int | None = None) -> list[Tensor]:
    """Clips as float32 (n_samples,) each.

    Args:
        audio: (n_sounds, n_samples), or a list of (n_samples,) of any lengths.
        sample_rate: of the audio in Hz, where the caller knows it.

    Raises:
        WindowError: wrong rank, type, rate or values; the message says how to make it right.
    """
    if isinstance(audio, list | tuple):
        return [check_samples(clip, 1, "a clip in a list", sample_rate) for clip in audio]
    return list(check_batch(audio, sample_rate))  # type: ignore[arg-type]


def check_batch(audio: Tensor, sample_rate: int | None = None) -> Tensor:
    """A batch as float32 (n_sounds, n_samples).

    Args:
        audio: the batch.
        sample_rate: of the audio in Hz, where the caller knows it.

    Raises:
        WindowError: as `check_clips`.
    """
    return check_samples(audio, 2, "audio", sample_rate)


def check_samples(audio: Tensor, rank: int, what: str, sample_rate: int | None) -> Tensor:
    """Float32 audio of one rank.

    Raises:
        WindowError: as `check_clips`.
    """
    if not isinstance(audio, Tensor):
        raise WindowError(
            f"{what} must be a torch tensor (got {type(audio).__name__}); for numpy arrays take "
            "torch.from_numpy(audio)"
        )
    if sample_rate not in (None, SAMPLE_RATE_HZ):
        raise WindowError(
            f"{what} must be at {SAMPLE_RATE_HZ} Hz (got {sample_rate}); resample it, as with "
            f"torchaudio.functional.resample(audio, {sample_rate}, {SAMPLE_RATE_HZ})"
        )
    if audio.ndim != rank:
        shape = "(n_sounds, n_samples)" if rank == 2 else "(n_samples,)"
        raise WindowError(
            f"{what} must be of shape {shape} (got {tuple(audio.shape)}); one mono clip is "
            "audio.unsqueeze(0), channels are averaged by audio.mean(dim=0)"
        )
    if not audio.is_floating_point():
        raise WindowError(
            f"{what} must be floating point in [-1, 1] (got {audio.dtype}); 16-bit samples are "
            "audio.float() / 32768"
        )
    if not torch.isfinite(audio).all():
        where = torch.nonzero(~torch.isfinite(audio))[0].tolist()
        raise WindowError(f"{what} is NaN or infinite at {where}; repair or leave out the clip")
    return audio.float()


def check_length(n_samples: int, spec: ArchSpec) -> None:
    """Refuse a window that the arch cannot take at one go.

    Raises:
        WindowError: too short for one patch, or too long for the time positions.
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
