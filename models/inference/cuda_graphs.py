"""Full windows, the bulk of a corpus, through forwards of fixed shapes that are recorded once.

A forward is some two hundred launches. Where other threads of the process hold the interpreter, as
those that unpack audio and write tables do, a launch can wait for milliseconds, and the GPU with
it. Recorded as a CUDA graph, the whole way from samples to outputs is one launch. A CPU records
nothing and runs the same code.

Recorded are batches of the largest size, of half of it, and so on down to one window; a batch in
between goes in several, or, where little is missing, in the next larger one, whose other rows are
ignored.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from models.inference.packing import DeviceOutputs, embed_staged
from models.inference.staging import Staged
from models.passt.attention import shapes_are_fixed
from models.passt.pack_layout import WindowPack
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

FILLED = 0.75
"""A batch goes in one of a larger size if it fills so much of it."""
_REHEARSALS = 2


class GraphedForwards:
    """Forwards for batches of windows of one length.

    Args:
        net: the transformer.
        mel: its front end.
        n_samples: of each window.
        most: windows in the largest batch.

    Attributes:
        n_samples: of each window.
        sizes: windows of the batches that are recorded, largest first.
    """

    def __init__(self, net: PaSST, mel: AugmentMelSTFT, n_samples: int, most: int) -> None:
        self.n_samples = n_samples
        self.sizes = _halves(most)
        self._device = net.cls_token.device
        self._samples = torch.zeros(most * n_samples, device=self._device)
        self._offsets = torch.zeros(most, dtype=torch.int32, device=self._device)
        self._forwards: dict[int, Callable[[], DeviceOutputs]] = {}
        memory = None
        # The largest first: what it takes of memory, the others share.
        for size in self.sizes:
            pack = WindowPack([n_samples] * size, net.spec, self._device)
            staged = Staged(self._samples, self._offsets[:size])
            forward = _Forward(net, mel, staged, pack)
            if self._device.type == "cuda":
                recorded = _CapturedGraph(forward, self._device, memory)
                self._forwards[size], memory = recorded, recorded.memory
            else:
                self._forwards[size] = forward

    def split(self, n_windows: int) -> list[int]:
        """How many windows go into each batch, that all of `n_windows` go through."""
        counts = []
        while n_windows:
            counts.append(min(n_windows, self.size_for(n_windows)))
            n_windows -= counts[-1]
        return counts

    def __call__(self, staged: Staged) -> DeviceOutputs:
        """Logits and features of a batch of windows of this length.

        Args:
            staged: at most as many windows as the largest batch; what they are cut from is no
                longer than they would be one after another.
        """
        n_windows = len(staged.offsets)
        self._samples[: len(staged.samples)].copy_(staged.samples)
        self._offsets[:n_windows].copy_(staged.offsets)
        logits, features = self._forwards[self.size_for(n_windows)]()
        # The next batch is written over them.
        return logits[:n_windows].clone(), features[:n_windows].clone()

    def size_for(self, n_windows: int) -> int:
        """Windows of the recorded batch that so many go through."""
        return max(size for size in self.sizes if n_windows >= FILLED * size)


class _Forward:
    """One batch, from what lies in the buffers."""

    def __init__(self, net: PaSST, mel: AugmentMelSTFT, staged: Staged, pack: WindowPack) -> None:
        self._net, self._mel, self._staged, self._pack = net, mel, staged, pack

    def __call__(self) -> DeviceOutputs:
        return embed_staged(self._staged, self._pack, self._net, self._mel)


class _CapturedGraph:
    """A forward as a CUDA graph; its outputs lie in the same place each time."""

    def __init__(self, forward: _Forward, device: torch.device, memory: Any) -> None:
        # What libraries set up in their first calls must not be recorded.
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside), shapes_are_fixed():
            for _ in range(_REHEARSALS):
                forward()
        torch.cuda.current_stream(device).wait_stream(aside)
        self._forward = forward  # and with it what the graph reads
        self._graph = torch.cuda.CUDAGraph()
        self.memory = memory or torch.cuda.graph_pool_handle()
        with _recording(self._graph, device, self.memory), shapes_are_fixed():
            self._outputs = forward()

    def __call__(self) -> DeviceOutputs:
        self._graph.replay()
        return self._outputs


@contextlib.contextmanager
def _recording(graph: torch.cuda.CUDAGraph, device: torch.device, memory: Any) -> Iterator[None]:
    """Record what is launched within the block; where that fails, leave the device as it was."""
    stream = torch.cuda.current_stream(device)
    try:
        # Thread-local: other threads may use the device while this one records.
        with torch.cuda.graph(graph, pool=memory, capture_error_mode="thread_local"):
            yield
    except BaseException:
        # torch leaves its own stream current, and goes on to allocate from the graph's memory.
        torch.cuda.set_stream(stream)
        with contextlib.suppress(RuntimeError):  # it may have got as far as to end that
            torch._C._cuda_endAllocateToPool(stream.device_index, memory)
        raise


def _halves(most: int) -> list[int]:
    sizes = [most]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes
