"""The log-mel front end of PaSST: samples at 32 kHz to 128 log-mel bands.

It stays in fp32 whatever precision the transformer runs in: the log of small powers does not
survive fewer bits. The filterbank is computed once, not in every forward.
"""

import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from models.archs import N_MELS, SAMPLE_RATE_HZ

N_FFT = 1024
STFT_WINDOW_SAMPLES = 800
PRE_EMPHASIS = 0.97
MEL_LOW_HZ = 0.0
MEL_HIGH_HZ = 15_000.0
LOG_OFFSET = 1e-5


def mel_filterbank() -> Tensor:
    """The Kaldi mel filterbank at evaluation, float32 (128, 513): bands by STFT bins."""
    bands, _ = kaldi.get_mel_banks(
        N_MELS, N_FFT, float(SAMPLE_RATE_HZ), MEL_LOW_HZ, MEL_HIGH_HZ, 100.0, -500.0, 1.0
    )
    # Kaldi leaves the Nyquist bin out; its column is zero.
    return nn.functional.pad(bands, (0, 1))


class LogMel(nn.Module):
    """Deterministic log-mel spectrogram, as the reference computes it in evaluation mode.

    Args:
        hop_samples: STFT hop; 320, 160 or 100 in the published checkpoints.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, hop_samples: int) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        window = torch.hann_window(STFT_WINDOW_SAMPLES, periodic=False)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filterbank", mel_filterbank(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Spectrogram of a batch of windows of one length.

        Args:
            samples: float32 (batch, n_samples), mono at 32 kHz in [-1, 1].

        Returns:
            float32 (batch, 128, frames) with frames = 1 + (n_samples - 1) // hop_samples.
        """
        emphasised = samples[:, 1:] - PRE_EMPHASIS * samples[:, :-1]
        stft = torch.stft(
            emphasised,
            N_FFT,
            hop_length=self.hop_samples,
            win_length=STFT_WINDOW_SAMPLES,
            window=self.window,
            center=True,
            pad_mode="reflect",
            normalized=False,
            return_complex=True,
        )
        power = stft.real.square() + stft.imag.square()
        return ((self.filterbank @ power + LOG_OFFSET).log() + 4.5) / 5.0
