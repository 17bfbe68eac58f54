"""The published PaSST checkpoints, described by one frozen spec each.

An arch combines everything that has to match: patch stride, grid of positions, STFT hop, head and
checkpoint. The reference lets a caller combine these freely, and a wrong combination returns bad
embeddings without an error. Here an arch is a single value, so its parts always match.
"""

import difflib
from dataclasses import dataclass

from models.errors import UnknownArchError

SAMPLE_RATE_HZ = 32_000
N_FFT = 1024
STFT_WINDOW_SAMPLES = 800
N_MELS = 128
MEL_LOW_HZ = 0.0
MEL_HIGH_HZ = 15_000.0
PATCH_SIZE = 16
EMBED_DIM = 768
N_HEADS = 12
"""Attention heads per transformer block."""
RELEASES_URL = "https://github.com/kkoutini/PaSST/releases/download/"


@dataclass(frozen=True, slots=True)
class ArchSpec:
    """Settings of one published PaSST checkpoint.

    Attributes:
        name: Name of the arch, as given to `--arch`.
        checkpoint: Path of the published state dict, relative to `RELEASES_URL`.
        n_classes: Number of classes of the head (527 AudioSet, 20 OpenMIC, 200 FSD50K).
        stride: Step between patches: mel bands over frequency, frames over time.
        input_tdim: Number of spectrogram frames that the time positions were trained for.
        hop_samples: STFT hop in samples at 32 kHz.
        depth: Number of transformer blocks.
        max_window_s: Longest window in seconds; longer clips are cut into windows.
        scene_hop_s: Step in seconds between the windows of a longer clip, as in the HEAR modules.
        classes: Data set whose classes the head predicts: `audioset`, `openmic` or `fsd50k`.
    """

    name: str
    checkpoint: str
    n_classes: int = 527
    stride: int = 10
    input_tdim: int = 998
    hop_samples: int = 320
    depth: int = 12
    max_window_s: float = 10.0
    scene_hop_s: float = 2.5
    classes: str = "audioset"

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of (frequency, time) positions in the state dict."""
        return N_MELS // self.stride, self.input_tdim // self.stride

    @property
    def min_samples(self) -> int:
        """Fewest samples of a window: `PATCH_SIZE` frames, which make one column of patches."""
        return (PATCH_SIZE - 1) * self.hop_samples + 1

    @property
    def max_samples(self) -> int:
        """Most samples of a window: every column of patches needs a time position."""
        max_frames = self.grid[1] * self.stride + PATCH_SIZE - 1
        return max_frames * self.hop_samples

    @property
    def url(self) -> str:
        """URL of the published checkpoint."""
        return RELEASES_URL + self.checkpoint

    @property
    def file_name(self) -> str:
        """File name of the checkpoint in the cache and in a model store."""
        return self.checkpoint.rpartition("/")[2]

    def n_frames(self, n_samples: int) -> int:
        """Return the number of log-mel frames in a window of `n_samples`."""
        return 1 + (n_samples - 1) // self.hop_samples

    def n_time_patches(self, n_samples: int) -> int:
        """Return the number of patches over time in a window; 0 if it is too short for a patch."""
        return max(0, (self.n_frames(n_samples) - PATCH_SIZE) // self.stride + 1)

    def n_tokens(self, n_samples: int) -> int:
        """Return the number of tokens of a window: its patches, class and distillation token."""
        n_freq_patches = (N_MELS - PATCH_SIZE) // self.stride + 1
        return n_freq_patches * self.n_time_patches(n_samples) + 2

    def flops(self, n_samples: int) -> int:
        """Estimate the floating-point operations of one window; a multiply-add counts as two.

        With n tokens of width D, a block takes 24 n D^2 operations in its linear layers (qkv 6,
        projection 2, MLP 16) and 4 n^2 D in attention. The patch embedding takes 2 x 256 x D per
        patch. Norms, softmax, the head and the front end take less than 1 % and are left out.
        """
        n, dim = self.n_tokens(n_samples), EMBED_DIM
        blocks = self.depth * (24 * n * dim**2 + 4 * n**2 * dim)
        return blocks + 2 * PATCH_SIZE**2 * dim * (n - 2)

    @property
    def n_parameters(self) -> int:
        """Number of values in the state dict, including the unused `head_dist`."""
        dim = EMBED_DIM
        block = 12 * dim**2 + 13 * dim
        tokens_and_positions = (4 + sum(self.grid)) * dim
        patch_embed = (PATCH_SIZE**2 + 1) * dim
        norms = 4 * dim
        heads = 2 * (dim + 1) * self.n_classes
        return self.depth * block + tokens_and_positions + patch_embed + norms + heads


_AUDIOSET = (
    ArchSpec("passt_s_swa_p16_128_ap476", "v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt"),
    ArchSpec("passt_s_swa_p16_128_ap4761", "v0.0.2-audioset/passt-s-f128-p16-s10-ap.4761-swa.pt"),
    ArchSpec("passt_s_p16_128_ap472", "v0.0.2-audioset/passt-s-f128-p16-s10-ap.472.pt"),
    ArchSpec("passt_s_kd_p16_128_ap486", "v.0.0.9/passt-s-kd-ap.486.pt"),
    ArchSpec("passt_l_kd_p16_128_ap47", "v.0.0.10/passt-l-kd-ap.47.pt", depth=7),
    ArchSpec(
        "passt_s_swa_p16_s16_128_ap473",
        "v0.0.2-audioset/passt-s-f128-p16-s16-ap.473-swa.pt",
        stride=16,
    ),
    ArchSpec(
        "passt_s_p16_s16_128_ap468", "v0.0.2-audioset/passt-s-f128-p16-s16-ap.468.pt", stride=16
    ),
    ArchSpec(
        "passt_s_swa_p16_s14_128_ap471",
        "v0.0.2-audioset/passt-s-f128-p16-s14-ap.471-swa.pt",
        stride=14,
    ),
    ArchSpec(
        "passt_s_p16_s14_128_ap469", "v0.0.2-audioset/passt-s-f128-p16-s14-ap.469.pt", stride=14
    ),
    ArchSpec(
        "passt_s_swa_p16_s12_128_ap473",
        "v0.0.2-audioset/passt-s-f128-p16-s12-ap.473-swa.pt",
        stride=12,
    ),
    ArchSpec(
        "passt_s_p16_s12_128_ap470", "v0.0.2-audioset/passt-s-f128-p16-s12-ap.470.pt", stride=12
    ),
    ArchSpec(
        "passt_b_f128_p16_s16_ap_459",
        "v.0.0.7-audioset/passt-b-f128-p16-s16-ap.459.pt",
        stride=16,
    ),
    ArchSpec(
        "passt_u600_f128_p16_s16_ap_460",
        "v.0.0.7-audioset/passt-u600-f128-p16-s16-ap.460.pt",
        stride=16,
    ),
    ArchSpec(
        "passt_20sec",
        "v0.0.5/passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
        input_tdim=2000,
        max_window_s=20.0,
        scene_hop_s=5.0,
    ),
    ArchSpec(
        "passt_30sec",
        "v0.0.5/passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
        input_tdim=3000,
        max_window_s=30.0,
        scene_hop_s=10.0,
    ),
    ArchSpec(
        "stfthop160",
        "v0.0.3-audioset/passt-s-f128-stfthop160-p16-s10-ap.473-swa.pt",
        input_tdim=2000,
        hop_samples=160,
    ),
    ArchSpec(
        "stfthop100",
        "v0.0.3-audioset/passt-s-f128-stfthop100-p16-s10-ap.473-swa.pt",
        input_tdim=3200,
        hop_samples=100,
    ),
)
_OTHER = (
    ArchSpec(
        "openmic",
        "v0.0.5/openmic-passt-s-f128-10sec-p16-s10-ap.85.pt",
        n_classes=20,
        classes="openmic",
    ),
    ArchSpec(
        "fsd50k",
        "v0.0.5/fsd50k-passt-s-f128-p16-s10-ap.655.pt",
        n_classes=200,
        classes="fsd50k",
    ),
    ArchSpec(
        "fsd50k-n",
        "v0.0.5/fsd50k-passt-s-n-f128-p16-s16-ap.642.pt",
        n_classes=200,
        stride=16,
        classes="fsd50k",
    ),
)
ARCHS: dict[str, ArchSpec] = {spec.name: spec for spec in _AUDIOSET + _OTHER}
DEFAULT_ARCH = _AUDIOSET[0].name
ALIASES: dict[str, str] = {
    "passt_10sec": DEFAULT_ARCH,
    "openmic2008": "openmic",
    "openmic_passt_s_f128_10sec_p16_s10_ap85": "openmic",
    "fsd50k_passt_s_f128_p16_s10_ap655": "fsd50k",
    "fsd50k_passt_s_n_f128_p16_s16_ap642": "fsd50k-n",
    "passt_s_f128_20sec_p16_s10_ap474_swa": "passt_20sec",
    "passt_s_f128_30sec_p16_s10_ap473_swa": "passt_30sec",
    "passt_s_swa_f128_stfthop160_p16_s10_ap473": "stfthop160",
    "passt_s_swa_f128_stfthop100_p16_s10_ap473": "stfthop100",
}
"""Aliases of archs: names that the reference's functions and HEAR modules use."""


def arch_spec(name: str) -> ArchSpec:
    """Return the spec of an arch by its name or alias.

    Raises:
        UnknownArchError: The name is neither in `ARCHS` nor in `ALIASES`; the message lists the
            archs.
    """
    try:
        return ARCHS[ALIASES.get(name, name)]
    except KeyError:
        closest = difflib.get_close_matches(name, [*ARCHS, *ALIASES], n=1, cutoff=0.7)
        hint = f"did you mean {closest[0]!r}? The" if closest else "the"
        raise UnknownArchError(
            f"unknown arch {name!r}; {hint} archs are: {', '.join(ARCHS)}"
        ) from None
