"""The log-mel front end of PaSST: samples at 32 kHz to 128 log-mel bands, always in fp32.

The logarithm of small powers is wrong in fewer bits, so autocast and TF32 are turned off here. In
evaluation the filterbank is computed once. In training the band edges are jittered, and bands and
frames are masked, as in the reference's front end. A new front end starts in evaluation mode, so a
forgotten `eval()` does not lead to masked embeddings.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import torch
import torchaudio
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from models.archs import (
    MEL_HIGH_HZ,
    MEL_LOW_HZ,
    N_FFT,
    N_MELS,
    SAMPLE_RATE_HZ,
    STFT_WINDOW_SAMPLES,
    ArchSpec,
)
from models.errors import FrontEndError
from models.passt.fused import can_fuse
from models.passt.matmul_precision import matmul_precision
from models.passt.pack_layout import FrameSlots

PRE_EMPHASIS = 0.97
"""Share of the preceding sample that is subtracted from each sample."""
LOG_OFFSET = 1e-5
"""Number added to a band's power before the logarithm."""
_SHIFT, _SCALE = 4.5, 5.0
_FFT_ROWS = 256
"""Numbers of frames in a Fourier transform on a GPU are multiples of this."""
_VTLN = 100.0, -500.0, 1.0
"""Kaldi's vocal-tract-length warping: low and high edge in Hz, and a warp factor of 1 (none)."""


class FrontEndSettings(NamedTuple):
    """Settings of a front end that must match the arch, under the names of `AugmentMelSTFT`."""

    n_mels: int = N_MELS
    sr: int = SAMPLE_RATE_HZ
    win_length: int = STFT_WINDOW_SAMPLES
    hopsize: int = 320
    n_fft: int = N_FFT
    fmin: float = MEL_LOW_HZ
    fmax: float = MEL_HIGH_HZ


class AugmentMelSTFT(nn.Module):
    """Log-mel spectrogram, with the arguments of the reference's class of the same name.

    Args:
        n_mels: Number of Kaldi mel bands.
        sr: Sample rate in Hz.
        win_length: Length of the symmetric Hann window in samples.
        hopsize: STFT hop in samples; 320, 160 or 100 in the published checkpoints.
        n_fft: FFT length in samples.
        freqm: Greatest width of the mask over bands in training; 0 for no mask.
        timem: Greatest width of the mask over frames in training; 0 for no mask.
        htk: Must be False. The reference ignores it: its filterbank is always Kaldi's.
        fmin: Lower edge of the bands in Hz.
        fmax: Upper edge of the bands in Hz; None for `sr` / 2 - `fmax_aug_range` / 2.
        norm: Must be 1. The reference ignores it, like `htk`.
        fmin_aug_range: Range of the lower edge's jitter in training, in Hz; 1 for no jitter.
        fmax_aug_range: Range of the upper edge's jitter in training, in Hz; 1 for no jitter.

    Raises:
        FrontEndError: A setting is not supported.
    """

    window: Tensor
    padded_window: Tensor
    filterbank: Tensor
    band_weights: Tensor

    def __init__(
        self,
        n_mels: int = N_MELS,
        sr: int = SAMPLE_RATE_HZ,
        win_length: int = STFT_WINDOW_SAMPLES,
        hopsize: int = 320,
        n_fft: int = N_FFT,
        freqm: int = 48,
        timem: int = 192,
        htk: bool = False,
        fmin: float = 0.0,
        fmax: float | None = None,
        norm: int = 1,
        fmin_aug_range: int = 10,
        fmax_aug_range: int = 2000,
    ) -> None:
        super().__init__()
        if htk or norm != 1:
            raise FrontEndError(
                f"the filterbank is Kaldi's: htk must be False and norm 1 (got {htk} and {norm})"
            )
        for name, jitter in (("fmin", fmin_aug_range), ("fmax", fmax_aug_range)):
            if jitter < 1:
                raise FrontEndError(f"{name}_aug_range must be at least 1 (got {jitter})")
        top_hz = float(sr // 2 - fmax_aug_range // 2 if fmax is None else fmax)
        self.settings = FrontEndSettings(
            n_mels, sr, win_length, hopsize, n_fft, float(fmin), top_hz
        )
        self.sr = sr
        self.hopsize = hopsize
        self.fmin_aug_range = fmin_aug_range
        self.fmax_aug_range = fmax_aug_range
        self.freqm = torchaudio.transforms.FrequencyMasking(freqm, iid_masks=True)
        self.timem = torchaudio.transforms.TimeMasking(timem, iid_masks=True)
        window = torch.hann_window(win_length, periodic=False)
        self.register_buffer("window", window, persistent=False)
        before = (n_fft - win_length) // 2
        padded = nn.functional.pad(window, (before, n_fft - win_length - before))
        self.register_buffer("padded_window", padded, persistent=False)
        filterbank = self._make_filterbank(self.settings.fmin, self.settings.fmax)
        self.register_buffer("filterbank", filterbank, persistent=False)
        # The last bin is in no band, and 512 rows are a better shape for a GPU than 513.
        band_weights = filterbank[:, :-1].T.contiguous()
        self.register_buffer("band_weights", band_weights, persistent=False)
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        """Compute the spectrograms of a batch of windows of one length.

        Args:
            samples: Mono samples in [-1, 1], (batch, n_samples).

        Returns:
            float32 (batch, n_mels, frames) with frames = 1 + (n_samples - 1) // hopsize.
        """
        with _full_fp32(samples.device):
            samples = samples.float()
            power = self._power(samples[:, 1:] - PRE_EMPHASIS * samples[:, :-1], center=True)
            bands = self._draw_filterbank().to(power.device) if self.training else self.filterbank
            log_mel = _log(bands @ power)
            if self.training:
                log_mel = self.timem(self.freqm(log_mel))
            return _normalize(log_mel)

    def frames(self, samples: Tensor, stream_index: Tensor) -> Tensor:
        """Compute the log-mel frames of windows of any lengths, without jitter or masks.

        Args:
            samples: Mono samples in [-1, 1] that contain the windows, float32 (n,).
            stream_index: Indices of the stream's samples in the pre-emphasised samples; see
                `models.passt.pack_layout.WindowPack.stream_index`.

        Returns:
            float32 (frames, n_mels).
        """
        with _full_fp32(samples.device):
            if samples.is_cuda and not torch.is_grad_enabled():
                return self._frames_on_gpu(samples, stream_index)
            emphasised = samples[1:] - PRE_EMPHASIS * samples[:-1]
            power = self._power(emphasised.index_select(0, stream_index), center=False)
            return _normalize(_log(power.T @ self.filterbank.T))

    def fused_frames(self, samples: Tensor, offsets: Tensor, slots: FrameSlots) -> Tensor:
        """Compute `frames` in few kernel launches; `can_fuse` must be true.

        Args:
            samples: Samples that contain the windows, float32 (n,).
            offsets: First sample of each window, int32 (n_windows,).
            slots: Window of each frame and the frame's position in it.

        Returns:
            Frames in the order of `slots`, float32 (frames, n_mels).
        """
        from models.passt.kernels import cut_frames, log_in_place, power

        n_frames = len(slots.windows)
        with _full_fp32(samples.device):
            shape = self.padded_window, PRE_EMPHASIS, _round_up(n_frames)
            spectrum = torch.fft.rfft(cut_frames(samples, offsets, slots, *shape))[:n_frames]
            bands = power(spectrum) @ self.band_weights
            return log_in_place(bands, LOG_OFFSET, _SHIFT, _SCALE)

    def can_fuse(self, samples: Tensor) -> bool:
        """Return whether `fused_frames` may replace `frames` for these samples."""
        is_power_of_2 = not self.settings.n_fft & (self.settings.n_fft - 1)
        return is_power_of_2 and can_fuse(samples, (self,), (AugmentMelSTFT,))

    def _frames_on_gpu(self, samples: Tensor, stream_index: Tensor) -> Tensor:
        """Compute `frames` with Fourier transforms of few different sizes."""
        n_fft, hop = self.settings.n_fft, self.settings.hopsize
        n_frames = (len(stream_index) - n_fft) // hop + 1
        n_rows = _round_up(n_frames)
        emphasised = samples[1:] - PRE_EMPHASIS * samples[:-1]
        stream = emphasised.index_select(0, stream_index)
        rows = stream.new_empty(n_rows, n_fft)
        torch.mul(stream.unfold(0, n_fft, hop), self.padded_window, out=rows[:n_frames])
        spectrum = torch.fft.rfft(rows)[:n_frames]
        powers = spectrum.real.square() + spectrum.imag.square()
        return _normalize(_log(powers @ self.filterbank.T))

    def _power(self, emphasised: Tensor, center: bool) -> Tensor:
        stft = torch.stft(
            emphasised,
            self.settings.n_fft,
            hop_length=self.settings.hopsize,
            win_length=self.settings.win_length,
            window=self.window,
            center=center,
            pad_mode="reflect",
            normalized=False,
            return_complex=True,
        )
        return stft.real.square() + stft.imag.square()

    def _draw_filterbank(self) -> Tensor:
        """Return a filterbank with jittered band edges."""
        lower = torch.randint(self.fmin_aug_range, (1,)).item()
        upper = self.fmax_aug_range // 2 - torch.randint(self.fmax_aug_range, (1,)).item()
        return self._make_filterbank(self.settings.fmin + lower, self.settings.fmax + upper)

    def _make_filterbank(self, low_hz: float, high_hz: float) -> Tensor:
        """Return the weights of the mel bands, float32 (n_mels, n_fft / 2 + 1)."""
        n_mels, n_fft, rate_hz = self.settings.n_mels, self.settings.n_fft, float(self.settings.sr)
        bands, _ = kaldi.get_mel_banks(n_mels, n_fft, rate_hz, low_hz, high_hz, *_VTLN)
        return nn.functional.pad(bands, (0, 1))  # Kaldi leaves out the Nyquist bin

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Apply a move to another device, but no cast: `model.half()` must not change buffers."""
        super()._apply(  # type: ignore[no-untyped-call]
            lambda tensor: tensor.to(fn(tensor).device), recurse
        )
        return self

    def extra_repr(self) -> str:
        """Return the settings, for printing the module."""
        return ", ".join(f"{name}={value}" for name, value in self.settings._asdict().items())


@contextlib.contextmanager
def _full_fp32(device: torch.device) -> Iterator[None]:
    """Compute with all bits of fp32 within the block, whatever autocast or TF32 is set to."""
    with torch.autocast(device.type, enabled=False), matmul_precision("ieee", device):
        yield


def _round_up(n_frames: int) -> int:
    # cuFFT makes a plan for each number of frames, which takes longer than the transform itself.
    return -(-n_frames // _FFT_ROWS) * _FFT_ROWS


def _log(mel: Tensor) -> Tensor:
    return (mel + LOG_OFFSET).log()


def _normalize(log_mel: Tensor) -> Tensor:
    return (log_mel + _SHIFT) / _SCALE


def check_front_end(mel: AugmentMelSTFT, spec: ArchSpec) -> None:
    """Raise an error if a front end's settings differ from those the arch was trained with.

    Raises:
        FrontEndError: A setting differs. The message names both values.
    """
    expected = FrontEndSettings(hopsize=spec.hop_samples)
    if mel.settings == expected:
        return
    pairs = zip(mel.settings._fields, mel.settings, expected, strict=True)
    wrong = [
        f"{name}={given} instead of {needed}" for name, given, needed in pairs if given != needed
    ]
    raise FrontEndError(
        f"the front end does not match arch {spec.name!r}: {', '.join(wrong)}; set model.mel = "
        f"AugmentMelSTFT(hopsize={spec.hop_samples})"
    )
