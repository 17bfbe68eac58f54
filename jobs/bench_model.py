"""`passtream bench model`: how fast PaSST runs here, beside the reference and beside one GEMM.

Weights are random: they cost what trained ones cost. Needs no
more than `models`; the reference package is imported only to be raced against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from jobs.race import Case, Contestant, Report, machine
from jobs.rival import REFERENCE, hushed, reference
from models.archs import DEFAULT_ARCH, SAMPLE_RATE_HZ, ArchSpec, arch_spec
from models.embedder import Embedder
from models.errors import ModelError
from models.factory import front_end
from models.passt import PaSST
from models.timestamps import TIMESTAMP_HOP, TIMESTAMP_WINDOW
from models.weights import random_state_dict
from models.wrapper import PasstWrapper

if TYPE_CHECKING:
    from jobs.figures import FigureFile  # pydantic need not be there

OURS = "passtream"
GEMM = "the same FLOPs as one GEMM"
WINDOW_S = 10.0
BATCH_WINDOWS = {"cpu": 4, "cuda": 64}
LONG_CLIP_S = 61.0
MIX_CLIPS = 64
MIX_S = (0.5, 10.0)
PRECISIONS = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "bf16", "fp16")}
CASES = ("windows", "mix", "timestamps", "long")


class ModelBench:
    """The cases for one arch on one device.

    Args:
        spec: the arch.
        device: `cpu` or `cuda`.
        against: `hear21passt`, or None.

    Raises:
        ModelError: no such rival, or it has no such arch or is not installed.
    """

    def __init__(self, spec: ArchSpec, device: str, against: str | None) -> None:
        if against not in (None, REFERENCE):
            raise ModelError(f"against must be {REFERENCE} (got {against!r})")
        self.spec = spec
        self.device = torch.device(device)
        self.against = against
        self.state_dict = random_state_dict(spec, 0)
        self.embedder = Embedder(spec, self.state_dict, device)
        self.model = PasstWrapper(
            front_end(spec),
            PaSST.from_state_dict(spec, self.state_dict).to(self.device),
            max_model_window=spec.max_window_s * 1000,
            scene_hop=spec.scene_hop_s * 1000,
        )
        self.rival = reference(self.model, self.device) if against else None

    def cases(self, names: Sequence[str]) -> Iterator[Case]:
        """The named cases, ready to race; `windows` is one a precision."""
        for name in names:
            if name == "windows":
                yield from map(self._windows, PRECISIONS[self.device.type])
            else:
                make = {
                    "mix": self._mix,
                    "timestamps": self._timestamps,
                    "long": self._long_clip,
                }
                yield make[name]()

    def _windows(self, precision: str) -> Case:
        n = BATCH_WINDOWS[self.device.type]
        windows = [_noise(WINDOW_S, seed) for seed in range(n)]
        embedder = self.embedder
        note = ""
        if precision != "fp32":
            embedder = Embedder(self.spec, self.state_dict, self.device.type, precision=precision)
            exact = self.embedder.embed(windows).features
            cosine = _cosine_min(embedder.embed(windows).features, exact)
            note = f"cosine to fp32 at least {cosine:.5f}"
        batch = torch.from_numpy(np.stack(windows))
        flops = n * self.spec.flops(len(windows[0]))
        return Case(
            f"{n} windows of {WINDOW_S:g} s in one batch, {precision}",
            self._rivals(lambda rival: rival(batch.to(self.device)))
            | {OURS: lambda: embedder.embed(windows), GEMM: _gemm(flops, self.device, precision)},
            flops,
            note=note,
            precision=precision,
            n_windows=n,
        )

    def _mix(self) -> Case:
        rng = np.random.default_rng(0)
        clips = [_noise(rng.uniform(*MIX_S), seed) for seed in range(MIX_CLIPS)]

        def one_by_one(rival: Any) -> None:
            for clip in clips:
                rival.get_scene_embeddings(torch.from_numpy(clip)[None])

        def in_padded_batches(rival: Any) -> None:
            n = BATCH_WINDOWS[self.device.type]
            for start in range(0, MIX_CLIPS, n):
                batch = map(torch.from_numpy, clips[start : start + n])
                rival.get_scene_embeddings(pad_sequence(list(batch), batch_first=True))

        seconds = sum(map(len, clips)) / SAMPLE_RATE_HZ
        return Case(
            f"{MIX_CLIPS} clips of {MIX_S[0]} to {MIX_S[1]:g} s, shuffled",
            # Its batches have one length: shorter clips are embedded with their padding.
            self._rivals(one_by_one)
            | self._rivals(in_padded_batches, f"{REFERENCE} in padded batches")
            | {OURS: lambda: self.embedder.embed(clips)},
            sum(self.spec.flops(len(clip)) for clip in clips),
            note=f"{seconds:.0f} s of audio",
        )

    def _timestamps(self) -> Case:
        audio = torch.from_numpy(_noise(WINDOW_S, 0))[None]
        return Case(
            f"timestamps of {WINDOW_S:g} s",
            self._rivals(lambda rival: rival.get_timestamp_embeddings(audio))
            | {OURS: lambda: self.model.get_timestamp_embeddings(audio)},
            (audio.shape[1] // TIMESTAMP_HOP + 1) * self.spec.flops(TIMESTAMP_WINDOW),
        )

    def _long_clip(self) -> Case:
        audio = torch.from_numpy(_noise(LONG_CLIP_S, 0))[None]
        # Reflected by half a window at both ends
        n_windows = int(LONG_CLIP_S / self.spec.scene_hop_s) + 1
        return Case(
            f"scene embedding of {LONG_CLIP_S:g} s",
            self._rivals(lambda rival: rival.get_scene_embeddings(audio))
            | {OURS: lambda: self.model.get_scene_embeddings(audio)},
            n_windows * self.spec.flops(self.model.max_model_window),
        )

    def _rivals(self, work: Callable[[Any], Any], name: str = REFERENCE) -> dict[str, Contestant]:
        if self.rival is None:
            return {}

        def run() -> None:
            with torch.no_grad(), hushed():
                work(self.rival)

        return {name: run}


def run_bench(
    arch: str = DEFAULT_ARCH,
    device: str = "cpu",
    against: str | None = None,
    repeats: int = 3,
    cases: Sequence[str] = CASES,
    report: Report = print,
    figures: FigureFile | None = None,
) -> None:
    """Race every case and report a Markdown table of medians.

    Args:
        arch: name of the arch.
        device: `cpu` or `cuda`.
        against: `hear21passt`, or None.
        repeats: measured rounds of each case.
        cases: which of `CASES`.
        report: takes the lines.
        figures: where to keep how fast windows were embedded; None for nowhere.

    Raises:
        ModelError: something of this cannot be had.
        UsageError: the figures cannot be kept.
    """
    for name, value, known in (
        ("device", device, tuple(PRECISIONS)),
        *(("cases", case, CASES) for case in cases),
    ):
        if value not in known:
            raise ModelError(f"{name} must be of {', '.join(known)} (got {value!r})")
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device cuda: torch sees no GPU here; take --device cpu")
    if repeats < 1:
        raise ModelError(f"repeats must be at least 1 (got {repeats})")
    if figures:
        figures.check("windows" in cases)
    bench = ModelBench(arch_spec(arch), device, against)
    measured = []
    report(machine(device, (against,) if against else ()))
    report("")
    report(f"| work, {arch} | who | median s | GFLOP/s | times {OURS}'s | |")
    report("|---|---|---|---|---|---|")
    for case in bench.cases(cases):
        case.race(repeats, bench.device)
        ours_s = case.median_s(OURS)
        if case.precision:
            measured.append((case.precision, case.n_windows / ours_s, case.n_windows))
        for name in case.contestants:
            median_s = case.median_s(name)
            rate, ratio = case.flops / median_s / 1e9, median_s / ours_s
            note = case.note if name == OURS else ""
            report(f"| {case.name} | {name} | {median_s:.2f} | {rate:.0f} | {ratio:.2f} | {note} |")
    if figures:
        figures.keep(bench.spec.name, machine(device), measured)
        report("")
        report(f"kept in {figures.path} as {figures.name}")
    if device == "cuda":
        report("")
        report(f"most GPU memory: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


def _noise(duration_s: float, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, round(duration_s * SAMPLE_RATE_HZ)).astype(np.float32)


def _cosine_min(vectors: Any, exact: Any) -> float:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact, axis=1)
    return float(((vectors * exact).sum(axis=1) / norms).min())


def _gemm(flops: float, device: torch.device, precision: str) -> Contestant:
    """One square matrix product of that many FLOPs; in fp32 where `precision` is int8."""
    size = round((flops / 2) ** (1 / 3))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    left, right, out = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(3))
    return lambda: torch.mm(left, right, out=out)
