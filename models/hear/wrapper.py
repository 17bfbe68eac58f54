"""The model of the HEAR modules: a PaSST net with its front end, from waveforms to embeddings.

It has the interface of the reference's wrapper, including that `net` and `mel` can be replaced.
Mistakes that silently change embeddings in the reference cannot do so here: a missing `eval()`, a
part on another device, a front end of another arch, or a clip that is too long for the model.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.archs import EMBED_DIM, SAMPLE_RATE_HZ
from models.errors import ModelError
from models.hear.net_with_front_end import NetWithFrontEnd
from models.inference.engine import Engine
from models.inference.input_checks import check_batch, check_clips, check_length
from models.inference.packing import max_pack_tokens
from models.inference.staging import stage
from models.inference.timestamp_levels import (
    Level,
    longest_window,
    timestamp_levels,
    timestamp_size,
)
from models.inference.timestamp_windows import embed_timestamp_windows, padded_blocks
from models.passt.preprocess import AugmentMelSTFT, check_front_end
from models.passt.transformer import PaSST

MODES = ("all", "embed_only", "logits")
STREAM_BLOCK_S = 60
"""Seconds of audio per block when timestamp embeddings are streamed."""


class PasstWrapper(NetWithFrontEnd):
    """A PaSST net with its front end, which embeds waveforms.

    Args:
        mel: The front end; `model.mel` may be replaced later.
        net: The transformer; `model.net` may be replaced later.
        max_model_window: Longest clip that is embedded whole, and window of longer clips, in ms.
        timestamp_window: Window of the first timestamp level, in ms.
        timestamp_hop: Step between timestamps, in ms.
        scene_hop: Step between the windows of a clip longer than `max_model_window`, in ms.
        mode: Outputs: `all` (logits, then features), `embed_only` (features) or `logits`.
        timestamps: Kind of the timestamp embeddings, one of `TIMESTAMP_KINDS`.

    Attributes:
        sample_rate: Sample rate of the waveforms in Hz.
        max_model_window, timestamp_window, timestamp_hop, scene_hop: Lengths in samples.

    Raises:
        ModelError: The mode or kind is unknown, or a length is shorter than one sample.
    """

    def __init__(
        self,
        mel: AugmentMelSTFT,
        net: PaSST,
        max_model_window: float = 10_000,
        timestamp_window: float = 160,
        timestamp_hop: float = 50,
        scene_hop: float = 2_500,
        mode: str = "all",
        timestamps: str = "base",
    ) -> None:
        super().__init__(mel, net)
        self.mode = mode
        self.timestamps = timestamps
        self.sample_rate = SAMPLE_RATE_HZ
        self.max_model_window = _to_samples("max_model_window", max_model_window)
        self.timestamp_window = _to_samples("timestamp_window", timestamp_window)
        self.timestamp_hop = _to_samples("timestamp_hop", timestamp_hop)
        self.scene_hop = _to_samples("scene_hop", scene_hop)
        timestamp_levels(timestamps, net.spec)  # raises if the kind is unknown

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; `net` and `mel` get the module's device and training state.

        Raises:
            ModelError: The mode is unknown, or the value for `net` or `mel` has the wrong class.
        """
        if name == "mode" and value not in MODES:
            raise ModelError(f"mode must be one of {', '.join(MODES)} (got {value!r})")
        super().__setattr__(name, value)

    @property
    def scene_embedding_size(self) -> int:
        """Width of a scene embedding."""
        widths = {"all": self.net.spec.n_classes + EMBED_DIM, "embed_only": EMBED_DIM}
        return widths.get(self.mode, self.net.spec.n_classes)

    @property
    def timestamp_embedding_size(self) -> int:
        """Width of a timestamp embedding."""
        return timestamp_size(self.levels(), self.scene_embedding_size)

    def levels(self, timestamps: str | None = None) -> tuple[Level, ...]:
        """Return the levels of the timestamp embeddings: the windows at each timestamp.

        Args:
            timestamps: Kind of the timestamp embeddings; None for the model's own.

        Raises:
            ModelError: The kind is unknown.
        """
        kind = timestamps or self.timestamps
        return timestamp_levels(kind, self.net.spec, self.timestamp_window)

    def forward(self, audio: Tensor) -> Tensor:
        """Embed clips whole, without cutting them into windows.

        Args:
            audio: Clips (n_sounds, n_samples) at 32 kHz in [-1, 1], on any device.

        Returns:
            The outputs of the mode, float32 (n_sounds, `scene_embedding_size`), on the model's
            device.

        Raises:
            ModelError: The front end does not match the net, or the audio has the wrong shape,
                type, values or length.
        """
        audio = check_batch(audio)
        check_length(audio.shape[1], self.net.spec)
        check_front_end(self.mel, self.net.spec)
        return self._embed_windows(audio.to(self.device))

    def get_scene_embeddings(
        self, audio: Tensor | Sequence[Tensor], sample_rate: int | None = None
    ) -> Tensor:
        """Return one embedding per clip, averaged over windows if the clip is long.

        Args:
            audio: Clips (n_sounds, n_samples) at 32 kHz in [-1, 1], or a list of clips (n_samples,)
                of any lengths. The embedding of a clip does not depend on the other clips.
            sample_rate: Sample rate of the audio if known; any other than 32 kHz is an error.

        Returns:
            Embeddings, float32 (n_sounds, `scene_embedding_size`), on the audio's device.

        Raises:
            ModelError: The front end does not match the net, or the audio has the wrong shape,
                type, rate, values or length.
        """
        clips = check_clips(audio, sample_rate)
        windows_by_clip = [self._scene_windows(clip) for clip in clips]
        windows = list(itertools.chain.from_iterable(windows_by_clip))
        with self._evaluation_mode():
            logits, features = Engine(self.net, self.mel, max_pack_tokens(self.device))(windows)
        outputs = iter(self._select_outputs(logits, features))
        scenes = [
            torch.stack(list(itertools.islice(outputs, len(clip_windows)))).mean(dim=0)
            for clip_windows in windows_by_clip
        ]
        if not scenes:
            return torch.empty(0, self.scene_embedding_size)
        return torch.stack(scenes).to(clips[0].device)

    def get_timestamp_embeddings(
        self,
        audio: Tensor,
        timestamps: str | None = None,
        sample_rate: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings of each clip at a timestamp every `timestamp_hop` samples.

        Args:
            audio: Clips (n_sounds, n_samples) at 32 kHz in [-1, 1].
            timestamps: Kind of the timestamp embeddings; None for the model's own.
            sample_rate: Sample rate of the audio if known; any other than 32 kHz is an error.

        Returns:
            Embeddings, float32 (n_sounds, n_timestamps, `timestamp_embedding_size`), and
            timestamps in ms, float32 (n_sounds, n_timestamps), both on the audio's device.

        Raises:
            ModelError: The front end does not match the net, the kind is unknown, or the audio has
                the wrong shape, type, rate or values. A clip must be longer than half the longest
                window, because its ends are reflected by that length.
        """
        audio = check_batch(audio, sample_rate)
        if not len(audio):
            size = timestamp_size(self.levels(timestamps), self.scene_embedding_size)
            return torch.empty(0, 0, size), torch.empty(0, 0)
        blocks = self.iter_timestamp_embeddings([audio], timestamps)
        embeddings, times_ms = zip(*blocks, strict=True)
        timestamps_ms = torch.cat(times_ms).float().to(audio.device)
        return torch.cat(embeddings, dim=1), timestamps_ms.expand(len(audio), -1)

    def iter_timestamp_embeddings(
        self,
        pieces: Iterable[Tensor],
        timestamps: str | None = None,
        sample_rate: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Stream timestamp embeddings of clips that arrive in pieces, in constant memory.

        Args:
            pieces: Consecutive parts of the clips, each (n_sounds, n_samples), of any lengths.
            timestamps: Kind of the timestamp embeddings; None for the model's own.
            sample_rate: Sample rate of the audio if known; any other than 32 kHz is an error.

        Yields:
            Blocks of about a minute: embeddings, float32 (n_sounds, n, `timestamp_embedding_size`),
            and their timestamps in ms, float64 (n,).

        Raises:
            ModelError: The same errors as `get_timestamp_embeddings`.
        """
        levels = self.levels(timestamps)
        checked = (check_batch(piece, sample_rate) for piece in pieces)
        block_timestamps = max(1, STREAM_BLOCK_S * self.sample_rate // self.timestamp_hop)
        n_done = 0
        window, hop = longest_window(levels), self.timestamp_hop
        for stream in padded_blocks(checked, window, hop, block_timestamps):
            with self._evaluation_mode():
                embeddings = embed_timestamp_windows(
                    _stage_samples(stream, self.device),
                    levels,
                    self._embed_windows,
                    self.mel,
                    lambda window: max(
                        1, max_pack_tokens(self.device) // self.net.spec.n_tokens(window)
                    ),
                    hop,
                )
            n = embeddings.shape[1]
            indices = torch.arange(n_done, n_done + n, dtype=torch.float64)
            yield embeddings.to(stream.device), indices * (hop * 1000 / self.sample_rate)
            n_done += n

    def _scene_windows(self, clip: Tensor) -> list[Tensor]:
        n_samples, window = len(clip), self.max_model_window
        check_length(min(n_samples, window), self.net.spec)
        if n_samples <= window:
            return [clip]
        pad = window // 2
        padded = F.pad(clip[None], (pad, pad), mode="reflect")[0]
        return list(padded.unfold(0, window, self.scene_hop))

    def _embed_windows(self, windows: Tensor) -> Tensor:
        # The samples are not checked as in `forward`: the check would wait for the GPU.
        return self._select_outputs(*self.net(self.mel(windows)))

    def _select_outputs(self, logits: Tensor, features: Tensor) -> Tensor:
        if self.mode == "all":
            return torch.cat((logits, features), dim=1).float()
        return (features if self.mode == "embed_only" else logits).float()


def _stage_samples(stream: Tensor, device: torch.device) -> Tensor:
    return stage([stream.flatten()], device).samples.view_as(stream)


def _to_samples(name: str, length_ms: float) -> int:
    samples = int(length_ms * SAMPLE_RATE_HZ / 1000)
    if samples < 1:
        raise ModelError(f"{name} must be at least one sample, 1/32 ms (got {length_ms} ms)")
    return samples
