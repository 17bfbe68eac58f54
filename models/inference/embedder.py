"""The model of a worker: windows of mixed lengths to logits and features, as NumPy arrays.

Windows of one call share forwards (see `models.inference.packing`), but the outputs of a window do
not depend on the other windows. A GPU computes while the caller continues: `begin` returns as soon
as all work is launched.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.archs import ArchSpec
from models.errors import WindowError, first_line
from models.inference.batch_size import (
    batch_size_key,
    find_batch_size,
    load_batch_size,
    measure_windows_per_s,
    save_batch_size,
)
from models.inference.engine import Engine
from models.inference.input_checks import check_length
from models.inference.outputs import Outputs, PendingOutputs, Vectors
from models.inference.packing import max_pack_tokens
from models.inference.staging import stage
from models.inference.timestamp_levels import TIMESTAMP_HOP, Level, longest_window
from models.inference.timestamp_windows import embed_timestamp_windows
from models.passt.matmul_precision import matmul_precision
from models.passt.precision import check_precision, convert
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

Samples = npt.NDArray[np.float32]
T = TypeVar("T")

_MIN_TOKENS = 128
"""Limit of tokens per forward that is not halved again; smaller batches would save no memory."""


class WarmUp(NamedTuple):
    """Result of preparing a model for its first window."""

    batch_windows: int
    """Windows per batch."""
    is_remembered: bool
    """Whether an earlier process on this kind of device found the batch size."""
    is_recorded: bool
    """Whether full windows go through captured CUDA graphs."""
    seconds: float
    """Duration of the preparation."""


class Embedder:
    """A PaSST with its front end on one device.

    Args:
        spec: The arch.
        state_dict: Weights of the arch, checked by `models.checkpoints.state_dict`.
        device: Name of the torch device.
        max_tokens: Greatest number of tokens in one forward; None for a default for the device.
            Whenever the device runs out of memory, the limit is halved for good.
        precision: One of `models.passt.precision.PRECISIONS`.

    Raises:
        ModelError: The device does not support the precision.
    """

    def __init__(
        self,
        spec: ArchSpec,
        state_dict: Mapping[str, Tensor],
        device: str = "cpu",
        max_tokens: int | None = None,
        precision: str = "fp32",
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.device = torch.device(device)
        check_precision(precision, self.device)
        net = PaSST.from_state_dict(spec, state_dict).requires_grad_(False).to(self.device)
        self.net = convert(net, precision)
        self.mel = AugmentMelSTFT(hopsize=spec.hop_samples).to(self.device)
        self._fp32_precision = "tf32" if precision == "tf32" else "ieee"
        max_tokens = max_tokens or max_pack_tokens(self.device, precision)
        self.engine = Engine(self.net, self.mel, max_tokens, self._fp32_precision)

    def warm_up(self, n_samples: int) -> WarmUp:
        """Find the batch size and capture CUDA graphs on a GPU; do nothing on a CPU.

        Args:
            n_samples: Samples per window of the most frequent length.
        """
        n_tokens = self.spec.n_tokens(n_samples)
        if self.device.type != "cuda":
            return WarmUp(max(1, self.engine.max_tokens // n_tokens), False, False, 0.0)
        return self.prepare(n_samples, max(1, max_pack_tokens(self.device) // n_tokens))

    def prepare(self, n_samples: int, max_windows: int) -> WarmUp:
        """Find the batch size and set up the forwards of full windows, on any device.

        Only a GPU captures CUDA graphs; a CPU runs the same code otherwise.

        Args:
            n_samples: Samples per window of the most frequent length.
            max_windows: Greatest number of windows per batch that fits into memory.
        """
        started = time.perf_counter()
        key = batch_size_key(self.device, self.spec.name, self.precision, n_samples)
        self.engine.graphed = None  # batch sizes are measured without graphs
        with torch.inference_mode():
            saved = load_batch_size(key)
            batch = saved or find_batch_size(partial(self._measure_rate, n_samples), max_windows)
            if not saved:
                save_batch_size(key, batch)
            # Less memory may be free now than when the batch size was saved.
            self.engine.max_tokens = min(batch, max_windows) * self.spec.n_tokens(n_samples)
            is_captured = self._capture(n_samples)
            self._warm_up_mixed_pack()
        batch_windows = max(1, self.engine.max_tokens // self.spec.n_tokens(n_samples))
        return WarmUp(batch_windows, bool(saved), is_captured, time.perf_counter() - started)

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """Embed windows and wait for the outputs; see `begin`."""
        return self.begin(windows).result()

    def begin(self, windows: Sequence[Samples]) -> PendingOutputs:
        """Begin to embed windows of any lengths that the arch takes.

        Args:
            windows: Mono windows at 32 kHz, float32 (n_samples,) each. Overlapping views of one
                array are copied to the device once. The caller may change the windows as soon as
                this returns.

        Returns:
            Pending outputs with one row per window, in the same order.

        Raises:
            WindowError: A window has a wrong shape, dtype or length.
        """
        for window in windows:
            self._check(window)
        with torch.inference_mode():
            tensors = [_to_tensor(window) for window in windows]
            return self._retry_out_of_memory(lambda: PendingOutputs(*self.engine(tensors)))

    def embed_timestamps(self, levels: Sequence[Level], stream: Samples, n: int) -> Vectors:
        """Compute the HEAR embeddings of consecutive timestamps.

        Args:
            levels: Levels from `models.inference.timestamp_levels.timestamp_levels`.
            stream: Samples from the start of the first timestamp's longest window to the end of the
                last timestamp's, float32.
            n: Number of timestamps, `TIMESTAMP_HOP` samples apart.

        Returns:
            Embeddings, float32 (n, `timestamp_size`), the levels side by side.

        Raises:
            WindowError: The stream does not have the length that n timestamps need.
        """
        needed = (n - 1) * TIMESTAMP_HOP + longest_window(levels)
        if stream.shape != (needed,):
            raise WindowError(f"{n} timestamps need {needed} samples, got shape {stream.shape}")
        with torch.inference_mode(), matmul_precision(self._fp32_precision, self.device):
            samples = stage([_to_tensor(stream)], self.device).samples[None]
            embeddings = self._retry_out_of_memory(
                lambda: embed_timestamp_windows(
                    samples,
                    levels,
                    lambda windows: torch.cat(self.net(self.mel(windows)), dim=1),
                    self.mel,
                    lambda window: max(1, self.engine.max_tokens // self.spec.n_tokens(window)),
                )
            )
            return embeddings[0].cpu().numpy()

    def _measure_rate(self, n_samples: int, n_windows: int) -> float:
        """Measure the windows per second in batches of `n_windows`."""
        self.engine.max_tokens = n_windows * self.spec.n_tokens(n_samples)
        return measure_windows_per_s(self.engine, n_windows, n_samples, self.device)

    def _capture(self, n_samples: int) -> bool:
        """Capture CUDA graphs; if that fails, warn and return False."""
        try:
            self._retry_out_of_memory(lambda: self.engine.capture(n_samples))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Without graphs the results are the same, only slower when the interpreter is busy.
            self.engine.graphed = None
            warnings.warn(
                f"CUDA graphs for windows of {n_samples} samples cannot be captured on "
                f"{self.device}, so embedding may be slower: {first_line(error)}",
                stacklevel=3,
            )
            return False
        return True

    def _warm_up_mixed_pack(self) -> None:
        """Embed a pack of two lengths, so that the first such pack of a run needs no set-up."""
        shortest = self.spec.min_samples
        longer = shortest + self.spec.stride * self.spec.hop_samples
        windows = [torch.zeros(longer), torch.zeros(shortest)]
        self._retry_out_of_memory(lambda: self.engine(windows))

    def _retry_out_of_memory(self, compute: Callable[[], T]) -> T:
        """Call `compute`, halving the batch size for good each time the device lacks memory."""
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                if self.engine.max_tokens <= _MIN_TOKENS:
                    raise
            # Outside of `except`, where the error no longer holds tensors of the failed forward.
            graphed, self.engine.graphed = self.engine.graphed, None
            self.engine.max_tokens //= 2
            n_samples = graphed.n_samples if graphed else 0
            del graphed  # frees its memory for the retry
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if n_samples:
                with contextlib.suppress(torch.OutOfMemoryError):
                    self._capture(n_samples)  # again, for smaller batches

    def _check(self, window: Samples) -> None:
        if window.ndim != 1 or window.dtype != np.float32:
            raise WindowError(
                f"a window must be float32 of shape (n_samples,), got {window.dtype} "
                f"of shape {window.shape}"
            )
        check_length(len(window), self.spec)


class _WritableView:
    """A view of an array that claims to be writable; it is never written to.

    Arrays from Ray's object store are read-only, which torch's tensors do not support. Copying each
    window instead would copy the samples that windows share several times.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        address, _ = samples.__array_interface__["data"]
        self.__array_interface__ = {**samples.__array_interface__, "data": (address, False)}


def _to_tensor(samples: Samples) -> Tensor:
    samples = np.ascontiguousarray(samples)
    if not samples.flags.writeable:
        samples = np.asarray(_WritableView(samples))
    return torch.from_numpy(samples)
