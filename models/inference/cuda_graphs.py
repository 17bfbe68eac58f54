"""CUDA graphs for full windows, which make up most of a corpus.

A forward is some two hundred kernel launches. Other threads of the process, such as those that
unpack audio and write tables, may hold the interpreter lock; a launch then waits for milliseconds,
and the GPU idles. Captured as a CUDA graph, everything from samples to outputs is a single launch.
A CPU captures nothing and runs the same code.

Graphs are captured for the largest batch size, half of it, and so on down to one window. A batch
of any other size is split over several graphs. If few windows are missing, it goes through the next
larger graph, whose remaining rows are ignored.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from models.inference.packing import DeviceOutputs, embed_staged
from models.inference.staging import StagedWindows
from models.passt.attention import allow_cudnn_plans
from models.passt.pack_layout import WindowPack
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

MIN_FILL = 0.75
"""Share of a graph's batch size that a smaller batch must fill to go through that graph."""
_WARMUP_RUNS = 2
"""Number of forwards before a capture, in which libraries initialize."""


class GraphedForwards:
    """Forwards for batches of windows of one length, captured as CUDA graphs on a GPU.

    Args:
        net: The transformer.
        mel: Its front end.
        n_samples: Samples per window.
        max_windows: Windows in the largest batch.

    Attributes:
        n_samples: Samples per window.
        sizes: Batch sizes that have a forward, largest first.
    """

    def __init__(self, net: PaSST, mel: AugmentMelSTFT, n_samples: int, max_windows: int) -> None:
        self.n_samples = n_samples
        self.sizes = _halve_repeatedly(max_windows)
        self._device = net.cls_token.device
        self._samples = torch.zeros(max_windows * n_samples, device=self._device)
        self._offsets = torch.zeros(max_windows, dtype=torch.int32, device=self._device)
        self._forwards: dict[int, Callable[[], DeviceOutputs]] = {}
        memory_pool = None
        # The largest is captured first, so that all others fit into its memory pool.
        for size in self.sizes:
            pack = WindowPack([n_samples] * size, net.spec, self._device)
            staged = StagedWindows(self._samples, self._offsets[:size])
            forward = _Forward(net, mel, staged, pack)
            if self._device.type == "cuda":
                graph = _CapturedGraph(forward, self._device, memory_pool)
                self._forwards[size], memory_pool = graph, graph.memory_pool
            else:
                self._forwards[size] = forward

    def split(self, n_windows: int) -> list[int]:
        """Divide windows into batches, and return the number of windows in each."""
        counts = []
        while n_windows:
            counts.append(min(n_windows, self.size_for(n_windows)))
            n_windows -= counts[-1]
        return counts

    def __call__(self, staged: StagedWindows) -> DeviceOutputs:
        """Compute the logits and features of a batch of windows of this length.

        Args:
            staged: Windows on the device, at most as many as the largest batch has. Their samples
                must not outnumber those of the largest batch.
        """
        n_windows = len(staged.offsets)
        self._samples[: len(staged.samples)].copy_(staged.samples)
        self._offsets[:n_windows].copy_(staged.offsets)
        logits, features = self._forwards[self.size_for(n_windows)]()
        # Cloned, because the next batch overwrites them.
        return logits[:n_windows].clone(), features[:n_windows].clone()

    def size_for(self, n_windows: int) -> int:
        """Return the batch size of the forward that a number of windows goes through."""
        return max(size for size in self.sizes if n_windows >= MIN_FILL * size)


class _Forward:
    """A forward of one batch whose samples and offsets are read from fixed buffers."""

    def __init__(
        self, net: PaSST, mel: AugmentMelSTFT, staged: StagedWindows, pack: WindowPack
    ) -> None:
        self._net, self._mel, self._staged, self._pack = net, mel, staged, pack

    def __call__(self) -> DeviceOutputs:
        return embed_staged(self._staged, self._pack, self._net, self._mel)


class _CapturedGraph:
    """A forward captured as a CUDA graph; every replay writes its outputs to the same memory."""

    def __init__(self, forward: _Forward, device: torch.device, memory_pool: Any) -> None:
        # Libraries initialize in their first calls, which must not be captured.
        side_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side_stream), allow_cudnn_plans():
            for _ in range(_WARMUP_RUNS):
                forward()
        torch.cuda.current_stream(device).wait_stream(side_stream)
        self._forward = forward  # keeps the tensors alive that the graph reads
        self._graph = torch.cuda.CUDAGraph()
        self.memory_pool = memory_pool or torch.cuda.graph_pool_handle()
        with _capture(self._graph, device, self.memory_pool), allow_cudnn_plans():
            self._outputs = forward()

    def __call__(self) -> DeviceOutputs:
        self._graph.replay()
        return self._outputs


@contextlib.contextmanager
def _capture(graph: torch.cuda.CUDAGraph, device: torch.device, memory_pool: Any) -> Iterator[None]:
    """Capture all launches within the block; restore stream and allocator if that fails."""
    stream = torch.cuda.current_stream(device)
    try:
        # Thread-local, because other threads may use the device during the capture.
        with torch.cuda.graph(graph, pool=memory_pool, capture_error_mode="thread_local"):
            yield
    except BaseException:
        # After an error torch leaves its capture stream current and keeps allocating from the pool.
        torch.cuda.set_stream(stream)
        with contextlib.suppress(RuntimeError):  # raised if the allocation has ended already
            torch._C._cuda_endAllocateToPool(stream.device_index, memory_pool)
        raise


def _halve_repeatedly(n: int) -> list[int]:
    sizes = [n]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes
