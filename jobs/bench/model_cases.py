"""Cases of `passtream bench model`: windows, mixed clips, timestamps, a long clip, and memory.

The weights are random, which costs the same time as trained weights. As in a run, windows are
float32 arrays in host memory, so the times include the copies to the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from jobs.bench.benchmark import Case, Implementation
from jobs.bench.case_note import case_note
from jobs.bench.device_memory import peak_bytes, reserved_bytes
from jobs.bench.gemm import gemm_baselines
from jobs.bench.kernel_times import kernel_times
from jobs.bench.model_inputs import MIX_CLIPS, MIX_S, make_mixed_clips, make_noise
from jobs.bench.reference import REFERENCE, load_reference, suppress_output
from models.archs import SAMPLE_RATE_HZ, ArchSpec
from models.checkpoints.state_dict import random_state_dict
from models.hear.factory import front_end
from models.hear.wrapper import PasstWrapper
from models.inference.embedder import Embedder, Samples
from models.inference.fidelity import compare
from models.inference.timestamp_levels import TIMESTAMP_HOP, TIMESTAMP_WINDOW
from models.passt.precision import convert
from models.passt.transformer import PaSST

OURS = "passtream"
CLIP_S = 10.0
"""Length of the clip of the case `timestamps`, in seconds."""
LONG_CLIP_S = 61.0
"""Length of the clip of the case `long`, in seconds."""
MEMORY_WINDOWS = {"cpu": 40, "cuda": 10_000}
"""Number of windows of the case `memory`, by device."""
_MEMORY_WINDOWS_PER_CALL = {"cpu": 4, "cuda": 100}
_CPU_BATCH_WINDOWS = 4
_REFERENCE_BATCH_WINDOWS = {"cpu": 4, "cuda": 32}
_N_BATCHES = {"cpu": 1, "cuda": 16}
_DEFAULT_PRECISION = {"cpu": "fp32", "cuda": "bf16"}
"""Precision of every case but `windows`: the precision that a run would use."""
_MAX_KERNELS = 20
"""Number of kernels to report."""


class ModelCases:
    """Benchmark cases of one arch on one device.

    Args:
        spec: The arch.
        device: `cpu` or `cuda`.
        against: `hear21passt`, or None to time without a reference.
        sounds: Recordings at 32 kHz on which fidelity is measured, in addition to noise.

    Raises:
        ModelError: The reference is not installed, or does not have this arch.
    """

    def __init__(
        self, spec: ArchSpec, device: str, against: str | None, sounds: Sequence[Samples] = ()
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self._sounds = sounds
        self._state_dict = random_state_dict(spec, 0)
        self._precision = _DEFAULT_PRECISION[device]
        self._embedders: dict[str, Embedder] = {}
        self._noise: dict[float, list[Samples]] = {}
        self._model = PasstWrapper(
            front_end(spec),
            PaSST.from_state_dict(spec, dict(self._state_dict)).to(self.device),
            max_model_window=spec.max_window_s * 1000,
            scene_hop=spec.scene_hop_s * 1000,
        )
        self._reference = load_reference(self._model, self.device) if against else None
        convert(self._model.net, self._precision)

    def windows(self, precision: str, window_s: float, with_reference: bool = True) -> Case:
        """Return the case of several full batches of windows.

        Args:
            precision: Precision in which our model computes.
            window_s: Length of the windows, in seconds.
            with_reference: Whether to time the reference as well, if there is one.
        """
        embedder = self._embedder(precision)
        n_samples = round(window_s * SAMPLE_RATE_HZ)
        warm_up = embedder.warm_up(n_samples)
        kind = self.device.type
        batch = warm_up.batch_windows if kind == "cuda" else _CPU_BATCH_WINDOWS
        n = batch * _N_BATCHES[kind]
        windows = self._noise_windows(n, window_s)
        facts = {
            "precision": precision,
            "window_s": window_s,
            "batch_windows": batch,
            "warm_up": warm_up._asdict() if warm_up.seconds else None,
            "fidelity": self._fidelity(embedder, windows),
            "peak_memory_bytes": peak_bytes(self.device, lambda: embedder.embed(windows)),
        }
        flops = n * self.spec.flops(n_samples)
        return Case(
            f"{n} windows of {window_s:g} s, {precision}",
            (
                self._reference_work(lambda reference: self._embed_in_batches(reference, windows))
                if with_reference
                else {}
            )
            | {OURS: lambda: embedder.embed(windows)}
            | gemm_baselines(flops, self.device, precision),
            flops,
            audio_s=n * window_s,
            facts=facts,
            note=case_note(facts),
        )

    def mix(self) -> Case:
        """Return the case of clips of mixed lengths."""
        clips = make_mixed_clips()
        embedder = self._embedder(self._precision)

        def embed_one_by_one(reference: Any) -> None:
            for clip in clips:
                reference.get_scene_embeddings(torch.from_numpy(clip)[None].to(self.device))

        def embed_in_padded_batches(reference: Any) -> None:
            n = _REFERENCE_BATCH_WINDOWS[self.device.type]
            for start in range(0, MIX_CLIPS, n):
                batch = pad_sequence(
                    [torch.from_numpy(clip) for clip in clips[start : start + n]], batch_first=True
                )
                reference.get_scene_embeddings(batch.to(self.device))

        return Case(
            f"{MIX_CLIPS} clips of {MIX_S[0]} to {MIX_S[1]:g} s, shuffled, {self._precision}",
            # All clips of a batch of the reference have one length, so shorter clips are padded.
            self._reference_work(embed_one_by_one)
            | self._reference_work(embed_in_padded_batches, f"{REFERENCE} in padded batches")
            | {OURS: lambda: embedder.embed(clips)},
            sum(self.spec.flops(len(clip)) for clip in clips),
            audio_s=sum(map(len, clips)) / SAMPLE_RATE_HZ,
            facts={"precision": self._precision},
        )

    def timestamps(self) -> Case:
        """Return the case of the timestamp embeddings of one clip."""
        audio = torch.from_numpy(make_noise(CLIP_S, 0))[None].to(self.device)
        return Case(
            f"timestamps of {CLIP_S:g} s, {self._precision}",
            self._reference_work(lambda reference: reference.get_timestamp_embeddings(audio))
            | {OURS: lambda: self._model.get_timestamp_embeddings(audio)},
            (audio.shape[1] // TIMESTAMP_HOP + 1) * self.spec.flops(TIMESTAMP_WINDOW),
            audio_s=CLIP_S,
            facts={"precision": self._precision},
        )

    def long_clip(self) -> Case:
        """Return the case of the scene embedding of one long clip."""
        audio = torch.from_numpy(make_noise(LONG_CLIP_S, 0))[None].to(self.device)
        # The clip is extended by reflection, half a window at either end.
        n_windows = int(LONG_CLIP_S / self.spec.scene_hop_s) + 1
        return Case(
            f"scene embedding of {LONG_CLIP_S:g} s, {self._precision}",
            self._reference_work(lambda reference: reference.get_scene_embeddings(audio))
            | {OURS: lambda: self._model.get_scene_embeddings(audio)},
            n_windows * self.spec.flops(self._model.max_model_window),
            audio_s=LONG_CLIP_S,
            facts={"precision": self._precision},
        )

    def memory(self) -> dict[str, Any]:
        """Measure the memory that embedding many windows takes, after a tenth and at the end."""
        kind = self.device.type
        embedder = self._embedder(self._precision)
        window_s = self.spec.max_window_s
        embedder.warm_up(round(window_s * SAMPLE_RATE_HZ))
        total, n_per_call = MEMORY_WINDOWS[kind], _MEMORY_WINDOWS_PER_CALL[kind]
        n_calls = total // n_per_call
        windows = [make_noise(window_s, seed) for seed in range(n_per_call)]
        used_bytes = []
        for _ in range(n_calls):
            embedder.embed(windows)
            used_bytes.append(reserved_bytes(self.device))
        return {
            "work": f"{total} windows of {window_s:g} s, {self._precision}",
            "after_a_tenth_bytes": used_bytes[n_calls // 10 - 1],
            "at_the_end_bytes": used_bytes[-1],
        }

    def kernels(self) -> dict[str, Any]:
        """Measure the device time of each kernel, for one batch of full windows."""
        embedder = self._embedder(self._precision)
        window_s = self.spec.max_window_s
        n = embedder.warm_up(round(window_s * SAMPLE_RATE_HZ)).batch_windows
        windows = self._noise_windows(n, window_s)
        kernels = kernel_times(lambda: embedder.embed(windows), self.device)
        return {
            "work": f"{n} windows of {window_s:g} s, {self._precision}",
            "seconds": sum(each["seconds"] for each in kernels),
            "kernels": kernels[:_MAX_KERNELS],
        }

    def _embedder(self, precision: str) -> Embedder:
        if precision not in self._embedders:
            weights = dict(self._state_dict)
            device = self.device.type
            self._embedders[precision] = Embedder(self.spec, weights, device, precision=precision)
        return self._embedders[precision]

    def _noise_windows(self, n: int, window_s: float) -> list[Samples]:
        """Return windows of noise; all precisions share them, as numpy is slower than a GPU."""
        windows = self._noise.setdefault(window_s, [])
        windows += [make_noise(window_s, seed) for seed in range(len(windows), n)]
        return windows[:n]

    def _fidelity(self, embedder: Embedder, windows: list[Samples]) -> dict[str, Any] | None:
        """Compare the features with those in fp32 on the same device; return None in fp32."""
        if embedder.precision == "fp32":
            return None
        exact = self._embedder("fp32")
        fidelity = {}
        inputs = {"noise": windows}
        if self._sounds:
            inputs["sounds"] = [sound[: len(windows[0])] for sound in self._sounds]
        for kind, samples in inputs.items():
            ours, expected = embedder.embed(samples).features, exact.embed(samples).features
            fidelity[kind] = compare(ours, expected)._asdict()
        return fidelity

    def _embed_in_batches(self, reference: Any, windows: Sequence[Samples]) -> None:
        n = _REFERENCE_BATCH_WINDOWS[self.device.type]
        for start in range(0, len(windows), n):
            reference(torch.from_numpy(np.stack(windows[start : start + n])).to(self.device))

    def _reference_work(
        self, work: Callable[[Any], Any], name: str = REFERENCE
    ) -> dict[str, Implementation]:
        """Return work of the reference as an implementation with its name; empty without one."""
        if self._reference is None:
            return {}

        def run() -> None:
            with torch.no_grad(), suppress_output():
                work(self._reference)

        return {name: run}
