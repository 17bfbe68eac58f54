"""The log-mel front end of PaSST: samples at 32 kHz to 128 log-mel bands, always in fp32.

The log of small powers does not survive fewer bits, so autocast and TF32 are off here. In
evaluation the filterbank is computed once. In training the band edges are jittered and bands and
frames are masked, as the reference's front end does; a new front end starts in evaluation, so that
nobody gets masked embeddings for having forgotten `eval()`.
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
LOG_OFFSET = 1e-5
_SHIFT, _SCALE = 4.5, 5.0
_FFT_ROWS = 256
# Kaldi's vocal-tract-length warping, at its neutral factor.
_VTLN_LOW_HZ, _VTLN_HIGH_HZ, _VTLN_WARP = 100.0, -500.0, 1.0


class FrontEndSettings(NamedTuple):
    """What of a front end has to fit the arch; under the names of `AugmentMelSTFT`."""

    n_mels: int = N_MELS
    sr: int = SAMPLE_RATE_HZ
    win_length: int = STFT_WINDOW_SAMPLES
    hopsize: int = 320
    n_fft: int = N_FFT
    fmin: float = MEL_LOW_HZ
    fmax: float = MEL_HIGH_HZ


class AugmentMelSTFT(nn.Module):
    """Log-mel spectrogram; the arguments are those of the reference's class of this name.

    Args:
        n_mels: Kaldi mel bands.
        sr: sample rate in Hz.
        win_length: Hann window (symmetric), in samples.
        hopsize: STFT hop in samples; 320, 160 or 100 in the published checkpoints.
        n_fft: FFT length.
        freqm: widest mask over bands in training; 0 for none.
        timem: widest mask over frames in training; 0 for none.
        htk: only False, as in the reference, whose filterbank is Kaldi's whatever is asked for.
        fmin: lower edge of the bands in Hz.
        fmax: upper edge in Hz; None for half the sample rate less half of `fmax_aug_range`.
        norm: only 1, for the same reason.
        fmin_aug_range: range of the lower edge's jitter in training, in Hz; 1 for none.
        fmax_aug_range: range of the upper edge's jitter in training, in Hz; 1 for none.

    Raises:
        FrontEndError: a setting that cannot be had.
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
        filterbank = self._filterbank(self.settings.fmin, self.settings.fmax)
        self.register_buffer("filterbank", filterbank, persistent=False)
        # Without the last bin, which is in no band: 512 rows are a better shape for a GPU than 513.
        band_weights = filterbank[:, :-1].T.contiguous()
        self.register_buffer("band_weights", band_weights, persistent=False)
        self.eval()

    def forward(self, samples: Tensor) -> Tensor:
        """Spectrogram of a batch of windows of one length.

        Args:
            samples: (batch, n_samples), mono in [-1, 1].

        Returns:
            float32 (batch, n_mels, frames) with frames = 1 + (n_samples - 1) // hopsize.
        """
        with _fp32(samples.device):
            samples = samples.float()
            power = self._power(samples[:, 1:] - PRE_EMPHASIS * samples[:, :-1], center=True)
            filterbank = self._jittered().to(power.device) if self.training else self.filterbank
            log_mel = _log(filterbank @ power)
            if self.training:
                log_mel = self.timem(self.freqm(log_mel))
            return _normalised(log_mel)

    def frames(self, samples: Tensor, stream_index: Tensor) -> Tensor:
        """Log-mel frames of windows of any lengths, as evaluation has them.

        Args:
            samples: float32 (n,), mono in [-1, 1].
            stream_index: places in the pre-emphasised samples (one less than `samples`), which are
                framed one after another; see `models.passt.pack_layout.WindowPack.stream_index`.

        Returns:
            float32 (frames, n_mels).
        """
        with _fp32(samples.device):
            if samples.is_cuda and not torch.is_grad_enabled():
                return self._frames_on_gpu(samples, stream_index)
            emphasised = samples[1:] - PRE_EMPHASIS * samples[:-1]
            power = self._power(emphasised.index_select(0, stream_index), center=False)
            return _normalised(_log(power.T @ self.filterbank.T))

    def fused_frames(self, samples: Tensor, offsets: Tensor, slots: FrameSlots) -> Tensor:
        """Compute `frames` in few launches, where `can_fuse` says so.

        Args:
            samples: float32 (n,), what the windows are cut from.
            offsets: int32 (n_windows,), where each begins.
            slots: Where the frames lie in the windows.

        Returns:
            float32 (frames, n_mels), a frame for each of `slots`.
        """
        from models.passt.kernels import framed, log_in_place, power

        n_frames = len(slots.windows)
        with _fp32(samples.device):
            tapered = self.padded_window, PRE_EMPHASIS, _rounded(n_frames)
            spectrum = torch.fft.rfft(framed(samples, offsets, slots, *tapered))[:n_frames]
            bands = power(spectrum) @ self.band_weights
            return log_in_place(bands, LOG_OFFSET, _SHIFT, _SCALE)

    def can_fuse(self, samples: Tensor) -> bool:
        """Return whether `fused_frames` may compute what `frames` does."""
        is_power_of_2 = not self.settings.n_fft & (self.settings.n_fft - 1)
        return is_power_of_2 and can_fuse(samples, (self,), (AugmentMelSTFT,))

    def _frames_on_gpu(self, samples: Tensor, stream_index: Tensor) -> Tensor:
        """Compute `frames` with Fourier transforms of few sizes."""
        n_fft, hop = self.settings.n_fft, self.settings.hopsize
        n_frames = (len(stream_index) - n_fft) // hop + 1
        n_rows = _rounded(n_frames)
        emphasised = samples[1:] - PRE_EMPHASIS * samples[:-1]
        stream = emphasised.index_select(0, stream_index)
        rows = stream.new_empty(n_rows, n_fft)
        torch.mul(stream.unfold(0, n_fft, hop), self.padded_window, out=rows[:n_frames])
        spectrum = torch.fft.rfft(rows)[:n_frames]
        powers = spectrum.real.square() + spectrum.imag.square()
        return _normalised(_log(powers @ self.filterbank.T))

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

    def _jittered(self) -> Tensor:
        lower = torch.randint(self.fmin_aug_range, (1,)).item()
        upper = self.fmax_aug_range // 2 - torch.randint(self.fmax_aug_range, (1,)).item()
        return self._filterbank(self.settings.fmin + lower, self.settings.fmax + upper)

    def _filterbank(self, low_hz: float, high_hz: float) -> Tensor:
        """Float32 (n_mels, n_fft / 2 + 1); Kaldi leaves the Nyquist bin out, its column is zero."""
        bands, _ = kaldi.get_mel_banks(
            self.settings.n_mels,
            self.settings.n_fft,
            float(self.settings.sr),
            low_hz,
            high_hz,
            _VTLN_LOW_HZ,
            _VTLN_HIGH_HZ,
            _VTLN_WARP,
        )
        return nn.functional.pad(bands, (0, 1))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take part in a move to a device, but not in a cast: `model.half()` is for the net."""
        super()._apply(  # type: ignore[no-untyped-call]
            lambda tensor: tensor.to(fn(tensor).device), recurse
        )
        return self

    def extra_repr(self) -> str:
        """The settings, for printing."""
        return ", ".join(f"{name}={value}" for name, value in self.settings._asdict().items())


@contextlib.contextmanager
def _fp32(device: torch.device) -> Iterator[None]:
    """All bits of fp32, whatever the caller has set for its own work."""
    with torch.autocast(device.type, enabled=False), matmul_precision("ieee", device):
        yield


def _rounded(n_frames: int) -> int:
    # cuFFT makes a plan for each number of frames, which takes longer than the transform.
    return -(-n_frames // _FFT_ROWS) * _FFT_ROWS


def _log(mel: Tensor) -> Tensor:
    return (mel + LOG_OFFSET).log()


def _normalised(log_mel: Tensor) -> Tensor:
    return (log_mel + _SHIFT) / _SCALE


def check_front_end(mel: AugmentMelSTFT, spec: ArchSpec) -> None:
    """Refuse a front end that the arch was not trained with.

    Raises:
        FrontEndError: a setting differs; both values are named.
    """
    expected = FrontEndSettings(hopsize=spec.hop_samples)
    if mel.settings == expected:
        return
    pairs = zip(mel.settings._fields, mel.settings, expected, strict=True)
    wrong = [f"{name}={ours} instead of {theirs}" for name, ours, theirs in pairs if ours != theirs]
    raise FrontEndError(
        f"the front end does not belong to arch {spec.name!r}: {', '.join(wrong)}; set model.mel = "
        f"AugmentMelSTFT(hopsize={spec.hop_samples})"
    )
