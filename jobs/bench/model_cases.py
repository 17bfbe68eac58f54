"""What `passtream bench model` races: windows, mixed clips, timestamps, long clips, and memory.

Weights are random: they cost what trained ones cost. Windows are given as a run gives them, float32
arrays in host memory, so the copies to a device are part of the time.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from jobs.bench.benchmark import Case, Implementation
from jobs.bench.kernel_times import kernel_times
from jobs.bench.reference import REFERENCE, load_reference, suppress_output
from models.archs import SAMPLE_RATE_HZ, ArchSpec
from models.checkpoints.state_dict import random_state_dict
from models.hear.factory import front_end
from models.hear.wrapper import PasstWrapper
from models.inference.embedder import Embedder, Samples
from models.inference.fidelity import compare
from models.inference.timestamp_levels import TIMESTAMP_HOP, TIMESTAMP_WINDOW
from models.passt.matmul_precision import matmul_precision
from models.passt.precision import convert
from models.passt.transformer import PaSST

OURS = "passtream"
GEMM = "the same FLOPs as one GEMM"
BF16_GEMM = "the same FLOPs as bf16 GEMMs"
CLIP_S = 10.0
LONG_CLIP_S = 61.0
MIX_CLIPS = 64
MIX_S = (0.5, 10.0)
MEMORY_WINDOWS = {"cpu": 40, "cuda": 10_000}
_MEMORY_CALL = {"cpu": 4, "cuda": 100}
_CPU_BATCH = 4
_RIVAL_BATCH = {"cpu": 4, "cuda": 32}
_BATCHES = {"cpu": 1, "cuda": 16}
# Clips, timestamps and long clips are embedded in the precision that runs would take.
_USUAL_PRECISION = {"cpu": "fp32", "cuda": "bf16"}
_LARGEST_GEMM = 8192
_KERNELS_TOLD = 20
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ModelCases:
    """The work for one arch on one device.

    Args:
        spec: the arch.
        device: `cpu` or `cuda`.
        against: `hear21passt`, or None for no rival.
        sounds: recordings at 32 kHz that fidelity is measured on, beside noise.

    Raises:
        ModelError: the rival has no such arch, or is not installed.
    """

    def __init__(
        self, spec: ArchSpec, device: str, against: str | None, sounds: Sequence[Samples] = ()
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._sounds = sounds
        self._state_dict = random_state_dict(spec, 0)
        self._usual = _USUAL_PRECISION[device]
        self._embedders: dict[str, Embedder] = {}
        self._noise: dict[int, list[Samples]] = {}
        self._model = PasstWrapper(
            front_end(spec),
            PaSST.from_state_dict(spec, dict(self._state_dict)).to(self.device),
            max_model_window=spec.max_window_s * 1000,
            scene_hop=spec.scene_hop_s * 1000,
        )
        self._rival = load_reference(self._model, self.device) if against else None
        convert(self._model.net, self._usual)

    def windows(self, precision: str, window_s: float, with_rival: bool = True) -> Case:
        """Windows of one length, several full batches of them."""
        embedder = self._embedder(precision)
        n_samples = round(window_s * SAMPLE_RATE_HZ)
        warm_up = embedder.warm_up(n_samples)
        kind = self.device.type
        batch = warm_up.batch_windows if kind == "cuda" else _CPU_BATCH
        n = batch * _BATCHES[kind]
        windows = self._noise_windows(n, n_samples)
        facts = {
            "precision": precision,
            "window_s": window_s,
            "batch_windows": batch,
            "warm_up": warm_up._asdict() if warm_up.seconds else None,
            "fidelity": self._fidelity(embedder, windows),
            "peak_memory_bytes": _peak_bytes(self.device, lambda: embedder.embed(windows)),
        }
        flops = n * self.spec.flops(n_samples)
        return Case(
            f"{n} windows of {window_s:g} s, {precision}",
            (self._rivals(lambda rival: self._in_batches(rival, windows)) if with_rival else {})
            | {OURS: lambda: embedder.embed(windows)}
            | {GEMM: gemm_baseline(flops, self.device, precision)}
            | ({BF16_GEMM: gemm_baseline(flops, self.device, "bf16")} if precision != "bf16" else {}),
            flops,
            audio_s=n * window_s,
            facts=facts,
            note=_told(facts),
        )

    def mix(self) -> Case:
        """Clips of mixed lengths."""
        rng = np.random.default_rng(0)
        clips = [
            make_noise(round(rng.uniform(*MIX_S) * SAMPLE_RATE_HZ), seed) for seed in range(MIX_CLIPS)
        ]
        embedder = self._embedder(self._usual)

        def one_by_one(rival: Any) -> None:
            for clip in clips:
                rival.get_scene_embeddings(torch.from_numpy(clip)[None].to(self.device))

        def in_padded_batches(rival: Any) -> None:
            n = _RIVAL_BATCH[self.device.type]
            for start in range(0, MIX_CLIPS, n):
                batch = pad_sequence(
                    [torch.from_numpy(clip) for clip in clips[start : start + n]], batch_first=True
                )
                rival.get_scene_embeddings(batch.to(self.device))

        return Case(
            f"{MIX_CLIPS} clips of {MIX_S[0]} to {MIX_S[1]:g} s, shuffled, {self._usual}",
            # Its batches have one length: shorter clips are embedded with their padding.
            self._rivals(one_by_one)
            | self._rivals(in_padded_batches, f"{REFERENCE} in padded batches")
            | {OURS: lambda: embedder.embed(clips)},
            sum(self.spec.flops(len(clip)) for clip in clips),
            audio_s=sum(map(len, clips)) / SAMPLE_RATE_HZ,
            facts={"precision": self._usual},
        )

    def timestamps(self) -> Case:
        """The timestamps of one clip."""
        audio = torch.from_numpy(make_noise(round(CLIP_S * SAMPLE_RATE_HZ), 0))[None].to(self.device)
        return Case(
            f"timestamps of {CLIP_S:g} s, {self._usual}",
            self._rivals(lambda rival: rival.get_timestamp_embeddings(audio))
            | {OURS: lambda: self._model.get_timestamp_embeddings(audio)},
            (audio.shape[1] // TIMESTAMP_HOP + 1) * self.spec.flops(TIMESTAMP_WINDOW),
            audio_s=CLIP_S,
            facts={"precision": self._usual},
        )

    def long_clip(self) -> Case:
        """The scene embedding of one long clip."""
        audio = torch.from_numpy(make_noise(round(LONG_CLIP_S * SAMPLE_RATE_HZ), 0))[None]
        audio = audio.to(self.device)
        # Reflected by half a window at both ends
        n_windows = int(LONG_CLIP_S / self.spec.scene_hop_s) + 1
        return Case(
            f"scene embedding of {LONG_CLIP_S:g} s, {self._usual}",
            self._rivals(lambda rival: rival.get_scene_embeddings(audio))
            | {OURS: lambda: self._model.get_scene_embeddings(audio)},
            n_windows * self.spec.flops(self._model.max_model_window),
            audio_s=LONG_CLIP_S,
            facts={"precision": self._usual},
        )

    def memory(self) -> dict[str, Any]:
        """What embedding many windows takes of a device's memory, early on and at the end."""
        kind = self.device.type
        embedder = self._embedder(self._usual)
        n_samples = round(self.spec.max_window_s * SAMPLE_RATE_HZ)
        embedder.warm_up(n_samples)
        total, taken = MEMORY_WINDOWS[kind], []
        n_calls = total // _MEMORY_CALL[kind]
        windows = [make_noise(n_samples, seed) for seed in range(_MEMORY_CALL[kind])]
        for _ in range(n_calls):
            embedder.embed(windows)
            taken.append(_reserved_bytes(self.device))
        return {
            "work": f"{total} windows of {self.spec.max_window_s:g} s, {self._usual}",
            "after_a_tenth_bytes": taken[n_calls // 10 - 1],
            "at_the_end_bytes": taken[-1],
        }

    def kernels(self) -> dict[str, Any]:
        """What a device spends the time of one batch of full windows on, kernel by kernel."""
        embedder = self._embedder(self._usual)
        n_samples = round(self.spec.max_window_s * SAMPLE_RATE_HZ)
        n = embedder.warm_up(n_samples).batch_windows
        windows = self._noise_windows(n, n_samples)
        found = kernel_times(lambda: embedder.embed(windows), self.device)
        return {
            "work": f"{n} windows of {self.spec.max_window_s:g} s, {self._usual}",
            "seconds": sum(each["seconds"] for each in found),
            "kernels": found[:_KERNELS_TOLD],
        }

    def _embedder(self, precision: str) -> Embedder:
        if precision not in self._embedders:
            weights = dict(self._state_dict)
            device = self.device.type
            self._embedders[precision] = Embedder(self.spec, weights, device, precision=precision)
        return self._embedders[precision]

    def _noise_windows(self, n: int, n_samples: int) -> list[Samples]:
        """Noise, made once for all precisions, as it takes longer than to embed it on a GPU."""
        made = self._noise.setdefault(n_samples, [])
        made += [make_noise(n_samples, seed) for seed in range(len(made), n)]
        return made[:n]

    def _fidelity(self, embedder: Embedder, windows: list[Samples]) -> dict[str, Any] | None:
        """Of the features to those in fp32 on the same device; None in fp32."""
        if embedder.precision == "fp32":
            return None
        exact = self._embedder("fp32")
        found = {}
        kinds = {"noise": windows}
        if self._sounds:
            kinds["sounds"] = [sound[: len(windows[0])] for sound in self._sounds]
        for kind, of_kind in kinds.items():
            ours, theirs = embedder.embed(of_kind).features, exact.embed(of_kind).features
            found[kind] = compare(ours, theirs)._asdict()
        return found

    def _in_batches(self, rival: Any, windows: Sequence[Samples]) -> None:
        n = _RIVAL_BATCH[self.device.type]
        for start in range(0, len(windows), n):
            rival(torch.from_numpy(np.stack(windows[start : start + n])).to(self.device))

    def _rivals(
        self, work: Callable[[Any], Any], name: str = REFERENCE
    ) -> dict[str, Implementation]:
        if self._rival is None:
            return {}

        def run() -> None:
            with torch.no_grad(), suppress_output():
                work(self._rival)

        return {name: run}


def make_noise(n_samples: int, seed: int) -> Samples:
    """Float32 noise, which differs with the seed."""
    drawn = np.random.default_rng(seed).standard_normal(n_samples, dtype=np.float32)
    return 0.1 * drawn


def gemm_baseline(flops: float, device: torch.device, precision: str) -> Implementation:
    """Square products of random matrices, of so many FLOPs in all; in fp32 where it is int8."""
    size = min(_LARGEST_GEMM, round((flops / 2) ** (1 / 3)))
    times = max(1, round(flops / (2 * size**3)))
    dtype = _DTYPES.get(precision, torch.float32)
    # Zeros, or ones, would be faster: a chip that toggles fewer bits runs cooler.
    left, right, out = (
        torch.randn(size, size, dtype=torch.float32, device=device).to(dtype) for _ in range(3)
    )
    products = "tf32" if precision == "tf32" else "ieee"

    def run() -> None:
        with matmul_precision(products, device):
            for _ in range(times):
                torch.mm(left, right, out=out)

    return run


def _told(facts: dict[str, Any]) -> str:
    """Facts of windows, for people."""
    parts = []
    if facts["warm_up"]:
        found = "remembered" if facts["warm_up"]["is_remembered"] else "found"
        seconds = facts["warm_up"]["seconds"]
        parts.append(f"batches of {facts['batch_windows']} ({found}), warmed up in {seconds:.1f} s")
    for kind, fidelity in (facts["fidelity"] or {}).items():
        parts.append(
            f"to fp32 on {fidelity['windows']} of {kind}: cosine {fidelity['cosine_mean']:.5f}, "
            f"at least {fidelity['cosine_min']:.5f}, off by up to {fidelity['max_abs']:.2g}"
        )
    if facts["peak_memory_bytes"]:
        parts.append(f"{facts['peak_memory_bytes'] / 1e9:.1f} GB at most")
    return "; ".join(parts)


def _peak_bytes(device: torch.device, work: Implementation) -> int | None:
    """Most of a GPU's memory that is taken during some work, all weights included."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device)


def _reserved_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
