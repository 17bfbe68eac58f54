"""A front end and a PaSST as one module: waves in, HEAR embeddings out.

The interface of the reference's wrapper, with `net` and `mel` to be replaced at will; but whatever
is paired is checked before the first forward, and what a caller forgets (`eval()`, the device of a
replaced part, the length that the model takes) does not spoil an embedding in silence.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.archs import EMBED_DIM, SAMPLE_RATE_HZ
from models.errors import ModelError
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


class PasstWrapper(nn.Module):
    """A PaSST that takes waves.

    Args:
        mel: the front end; may be replaced.
        net: the transformer; may be replaced.
        max_model_window: longest clip, and window of longer ones, in ms.
        timestamp_window: of the first level, in ms.
        timestamp_hop: in ms.
        scene_hop: from one window of a long clip to the next, in ms.
        mode: `all` (logits, then features), `embed_only` (features) or `logits`.
        timestamps: levels of a timestamp embedding, one of `TIMESTAMP_KINDS`.

    Attributes:
        sample_rate: that of the waves, in Hz.
        max_model_window, timestamp_window, timestamp_hop, scene_hop: in samples.

    Raises:
        ModelError: no such mode or kind, or a length that is not positive.
    """

    mel: AugmentMelSTFT
    net: PaSST

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
        super().__init__()
        self.mode = mode
        self.timestamps = timestamps
        self.sample_rate = SAMPLE_RATE_HZ
        self.max_model_window = _samples("max_model_window", max_model_window)
        self.timestamp_window = _samples("timestamp_window", timestamp_window)
        self.timestamp_hop = _samples("timestamp_hop", timestamp_hop)
        self.scene_hop = _samples("scene_hop", scene_hop)
        self.eval()
        self.net = net
        self.mel = mel
        timestamp_levels(timestamps, net.spec)

    def __setattr__(self, name: str, value: Any) -> None:
        """Parts that are put in take over this module's device and its train or eval state.

        Raises:
            ModelError: a part of another kind, or no such mode.
        """
        if name == "mode" and value not in MODES:
            raise ModelError(f"mode must be one of {', '.join(MODES)} (got {value!r})")
        kinds: dict[str, type[nn.Module]] = {"net": PaSST, "mel": AugmentMelSTFT}
        if kind := kinds.get(name):
            if not isinstance(value, kind):
                raise ModelError(f"{name} must be a {kind.__name__} (got {type(value).__name__})")
            value.train(self.training)
            if "net" in self._modules:
                value.to(self.device)
        super().__setattr__(name, value)

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.net.cls_token.device

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
        """What a timestamp embedding looks at each moment through.

        Args:
            timestamps: another kind than the model's own.
        """
        kind = timestamps or self.timestamps
        return timestamp_levels(kind, self.net.spec, self.timestamp_window)

    def forward(self, audio: Tensor) -> Tensor:
        """What the mode asks for, of clips that the model takes at one go.

        Args:
            audio: (n_sounds, n_samples) at 32 kHz in [-1, 1], on any device.

        Returns:
            float32 (n_sounds, `scene_embedding_size`), on the model's device.

        Raises:
            ModelError: the front end is not the net's, or the audio is not what it takes.
        """
        audio = check_batch(audio)
        check_length(audio.shape[1], self.net.spec)
        check_front_end(self.mel, self.net.spec)
        return self._passt(audio.to(self.device))

    def get_scene_embeddings(
        self, audio: Tensor | Sequence[Tensor], sample_rate: int | None = None
    ) -> Tensor:
        """One embedding a clip; clips longer than the model's window as the mean over windows.

        Args:
            audio: (n_sounds, n_samples) at 32 kHz in [-1, 1], or a list of (n_samples,) of any
                lengths; each comes out as if it were alone.
            sample_rate: of the audio, to be refused where it is not 32 kHz.

        Returns:
            float32 (n_sounds, `scene_embedding_size`), on the audio's device.

        Raises:
            ModelError: as `forward`.
        """
        clips = check_clips(audio, sample_rate)
        windows = [self._scene_windows(clip) for clip in clips]
        flat = [window for of_clip in windows for window in of_clip]
        with self._evaluating():
            logits, features = Engine(self.net, self.mel, max_pack_tokens(self.device))(flat)
        rows = iter(self._by_mode(logits, features))
        scenes = [
            torch.stack(list(itertools.islice(rows, len(of_clip)))).mean(dim=0)
            for of_clip in windows
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
        """An embedding for every `timestamp_hop` of each clip.

        Args:
            audio: (n_sounds, n_samples) at 32 kHz in [-1, 1].
            timestamps: another kind of levels than the model's own.
            sample_rate: of the audio, to be refused where it is not 32 kHz.

        Returns:
            float32 (n_sounds, n_timestamps, `timestamp_embedding_size`) and the moments in ms,
            float32 (n_sounds, n_timestamps), on the audio's device.

        Raises:
            ModelError: as `forward`, or too short to be reflected by half the longest window.
        """
        audio = check_batch(audio, sample_rate)
        if not len(audio):
            size = timestamp_size(self.levels(timestamps), self.scene_embedding_size)
            return torch.empty(0, 0, size), torch.empty(0, 0)
        blocks = self.iter_timestamp_embeddings([audio], timestamps)
        embeddings, moments = zip(*blocks, strict=True)
        moments_ms = torch.cat(moments).float().to(audio.device)
        return torch.cat(embeddings, dim=1), moments_ms.expand(len(audio), -1)

    def iter_timestamp_embeddings(
        self,
        pieces: Iterable[Tensor],
        timestamps: str | None = None,
        sample_rate: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """`get_timestamp_embeddings` for clips of hours: piece by piece, memory stays flat.

        Args:
            pieces: consecutive parts of the clips, (n_sounds, n_samples) each, of any lengths.
            timestamps: another kind of levels than the model's own.
            sample_rate: of the audio, to be refused where it is not 32 kHz.

        Yields:
            float32 (n_sounds, n, `timestamp_embedding_size`), about a minute each, and the moments
            in ms, float64 (n,).

        Raises:
            ModelError: as `get_timestamp_embeddings`.
        """
        levels = self.levels(timestamps)
        checked = (check_batch(piece, sample_rate) for piece in pieces)
        block_moments = max(1, STREAM_BLOCK_S * self.sample_rate // self.timestamp_hop)
        done = 0
        window, hop = longest_window(levels), self.timestamp_hop
        for stream in padded_blocks(checked, window, hop, block_moments):
            with self._evaluating():
                embeddings = embed_timestamp_windows(
                    _staged(stream, self.device),
                    levels,
                    self._passt,
                    self.mel,
                    lambda window: max(
                        1, max_pack_tokens(self.device) // self.net.spec.n_tokens(window)
                    ),
                    hop,
                )
            n = embeddings.shape[1]
            moments_ms = torch.arange(done, done + n, dtype=torch.float64)
            yield embeddings.to(stream.device), moments_ms * (hop * 1000 / self.sample_rate)
            done += n

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation without gradients, whatever state the caller left the module in."""
        check_front_end(self.mel, self.net.spec)
        # Part by part: a caller may train the net behind a front end in evaluation.
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True

    def _scene_windows(self, clip: Tensor) -> list[Tensor]:
        n_samples, window = len(clip), self.max_model_window
        check_length(min(n_samples, window), self.net.spec)
        if n_samples <= window:
            return [clip]
        pad = window // 2
        padded = F.pad(clip[None], (pad, pad), mode="reflect")[0]
        return list(padded.unfold(0, window, self.scene_hop))

    def _passt(self, windows: Tensor) -> Tensor:
        # Without `forward`'s look at every sample, for which a GPU would have to be waited for.
        return self._by_mode(*self.net(self.mel(windows)))

    def _by_mode(self, logits: Tensor, features: Tensor) -> Tensor:
        if self.mode == "all":
            return torch.cat((logits, features), dim=1).float()
        return (features if self.mode == "embed_only" else logits).float()


def _staged(stream: Tensor, device: torch.device) -> Tensor:
    return stage([stream.flatten()], device).samples.view_as(stream)


def _samples(name: str, length_ms: float) -> int:
    samples = int(length_ms * SAMPLE_RATE_HZ / 1000)
    if samples < 1:
        raise ModelError(f"{name} must be at least one sample, 1/32 ms (got {length_ms} ms)")
    return samples
