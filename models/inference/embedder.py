"""Windows of any mix of lengths to logits and features, each as if it were embedded alone.

Arrays in, arrays out: this is what `pipeline` holds in a worker. Windows of one call share forwards
(see `packing`); the result does not depend on the company a window keeps. A GPU computes
while the caller goes on: `begin` returns as soon as everything is launched.
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
    batch_key,
    find_batch,
    remember_batch,
    remembered_batch,
    windows_per_s,
)
from models.inference.engine import Engine
from models.inference.input_checks import check_length
from models.inference.outputs import Outputs, PendingOutputs, Vectors
from models.inference.packing import pack_tokens
from models.inference.staging import stage
from models.inference.timestamp_levels import TIMESTAMP_HOP, Level, longest_window
from models.inference.timestamp_windows import embed_timestamp_windows
from models.passt.matmul_precision import matmul_precision
from models.passt.precision import check_precision, convert
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

Samples = npt.NDArray[np.float32]
T = TypeVar("T")

_FEWEST_TOKENS = 128
"""Smaller batches would save nothing: a window that does not fit then never does."""


class WarmUp(NamedTuple):
    """What a model did before its first window."""

    batch_windows: int
    """In a batch from now on."""
    is_remembered: bool
    """Found by an earlier process on such a device."""
    is_recorded: bool
    """Full windows go through recorded forwards."""
    seconds: float


class Embedder:
    """A PaSST with its front end on one device.

    Args:
        spec: the arch.
        state_dict: its weights, checked by `models.checkpoints.state_dict`.
        device: torch device.
        max_tokens: most tokens in one forward; None for what suits the device. Halved, and left
            so, as often as the device runs out of memory.
        precision: one of `models.passt.precision.PRECISIONS`.

    Raises:
        ModelError: the device cannot compute in that precision.
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
        self._products = "tf32" if precision == "tf32" else "ieee"
        self.engine = Engine(
            self.net, self.mel, max_tokens or pack_tokens(self.device, precision), self._products
        )

    def warm_up(self, n_samples: int) -> WarmUp:
        """On a GPU find the batch size and record the forwards; a CPU needs neither.

        Args:
            n_samples: of the windows that most will be as long as.
        """
        n_tokens = self.spec.n_tokens(n_samples)
        if self.device.type != "cuda":
            return WarmUp(max(1, self.engine.max_tokens // n_tokens), False, False, 0.0)
        return self.prepare(n_samples, max(1, pack_tokens(self.device) // n_tokens))

    def prepare(self, n_samples: int, most: int) -> WarmUp:
        """What `warm_up` does where there is something to do.

        Args:
            n_samples: of the windows that most will be as long as.
            most: windows that there is memory for.
        """
        started = time.perf_counter()
        key = batch_key(self.device, self.spec.name, self.precision, n_samples)
        self.engine.fixed = None  # not to be measured
        with torch.inference_mode():
            found = remembered_batch(key)
            batch = found or find_batch(partial(self._rate, n_samples), most)
            if not found:
                remember_batch(key, batch)
            # Another process may have taken some of the memory that there was.
            self.engine.max_tokens = min(batch, most) * self.spec.n_tokens(n_samples)
            is_recorded = self._record(n_samples)
            self._rehearse()
        batch_windows = max(1, self.engine.max_tokens // self.spec.n_tokens(n_samples))
        return WarmUp(batch_windows, bool(found), is_recorded, time.perf_counter() - started)

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """`begin`, and its result."""
        return self.begin(windows).result()

    def begin(self, windows: Sequence[Samples]) -> PendingOutputs:
        """Logits and features of windows of any lengths the arch takes.

        Args:
            windows: float32 (n_samples,) each, mono at 32 kHz; views of one array are copied to
                the device once. They may be changed as soon as this returns.

        Returns:
            What becomes `Outputs`, float32 arrays with one row a window, in the same order.

        Raises:
            WindowError: a window of a wrong shape, dtype or length.
        """
        for window in windows:
            self._check(window)
        with torch.inference_mode():
            tensors = [_tensor(window) for window in windows]
            return self._within_memory(lambda: PendingOutputs(*self.engine(tensors)))

    def embed_timestamps(self, levels: Sequence[Level], stream: Samples, n: int) -> Vectors:
        """HEAR timestamp embeddings (logits, features; raw log-mel) of consecutive moments.

        Args:
            levels: from `models.inference.timestamp_levels.timestamp_levels`.
            stream: float32, from the start of the first moment's longest window to the end of the
                last one's.
            n: moments, `TIMESTAMP_HOP` samples apart.

        Returns:
            float32 (n, `timestamp_size`).

        Raises:
            WindowError: the stream has another length than n moments need.
        """
        needed = (n - 1) * TIMESTAMP_HOP + longest_window(levels)
        if stream.shape != (needed,):
            raise WindowError(f"{n} moments take {needed} samples, got shape {stream.shape}")
        with torch.inference_mode(), matmul_precision(self._products, self.device):
            samples = stage([_tensor(stream)], self.device).samples[None]
            moments = self._within_memory(
                lambda: embed_timestamp_windows(
                    samples,
                    levels,
                    lambda windows: torch.cat(self.net(self.mel(windows)), dim=1),
                    self.mel,
                    lambda window: max(1, self.engine.max_tokens // self.spec.n_tokens(window)),
                )
            )
            return moments[0].cpu().numpy()

    def _rate(self, n_samples: int, n_windows: int) -> float:
        """Windows a second in batches of so many."""
        self.engine.max_tokens = n_windows * self.spec.n_tokens(n_samples)
        return windows_per_s(self.engine, n_windows, n_samples, self.device)

    def _record(self, n_samples: int) -> bool:
        try:
            self._within_memory(lambda: self.engine.capture(n_samples))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Slower where the interpreter is busy, and right all the same.
            self.engine.fixed = None
            warnings.warn(
                f"forwards of {n_samples} samples are not recorded on {self.device}: "
                f"{first_line(error)}",
                stacklevel=3,
            )
            return False
        return True

    def _rehearse(self) -> None:
        """Embed a pack of two lengths, so that the first one of a run need not wait for set-up."""
        shortest = self.spec.min_samples
        longer = shortest + self.spec.stride * self.spec.hop_samples
        windows = [torch.zeros(longer), torch.zeros(shortest)]
        self._within_memory(lambda: self.engine(windows))

    def _within_memory(self, compute: Callable[[], T]) -> T:
        """Compute, with smaller batches from then on where the device has no memory for them."""
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                if self.engine.max_tokens <= _FEWEST_TOKENS:
                    raise
            # Outside of `except`, as what the error holds of the failed forward is free here.
            recorded, self.engine.fixed = self.engine.fixed, None
            self.engine.max_tokens //= 2
            n_samples = recorded.n_samples if recorded else 0
            del recorded  # its memory is of more use now
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if n_samples:
                with contextlib.suppress(torch.OutOfMemoryError):
                    self._record(n_samples)  # in smaller batches

    def _check(self, window: Samples) -> None:
        if window.ndim != 1 or window.dtype != np.float32:
            raise WindowError(
                f"a window must be float32 of shape (n_samples,), got {window.dtype} "
                f"of shape {window.shape}"
            )
        check_length(len(window), self.spec)


class _Borrowed:
    """An array's memory as if it could be written to, which nobody does.

    Arrays out of Ray's object store are read-only. torch does not know how to be, and a copy of
    each window would copy again and again what windows share.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        address, _ = samples.__array_interface__["data"]
        self.__array_interface__ = {**samples.__array_interface__, "data": (address, False)}


def _tensor(samples: Samples) -> Tensor:
    samples = np.ascontiguousarray(samples)
    return torch.from_numpy(samples if samples.flags.writeable else np.asarray(_Borrowed(samples)))
