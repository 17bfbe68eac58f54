"""The engine that feeds windows to a net: packs, copies, forwards, and the order of the results.

The host prepares packs and launches them without waiting for the device. At most
`MAX_PACKS_IN_FLIGHT` packs are in flight, which bounds the memory that they take.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.archs import EMBED_DIM
from models.inference.cuda_graphs import GraphedForwards
from models.inference.packing import DeviceOutputs, embed_staged, packs
from models.inference.staging import stage
from models.passt.matmul_precision import matmul_precision
from models.passt.pack_layout import WindowPack, small_tensor
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

MAX_PACKS_IN_FLIGHT = 2
"""Packs that a GPU may still be copying or computing while the host prepares the next one."""


class Engine:
    """A net with its front end, which embeds windows of mixed lengths independently.

    Args:
        net: The transformer.
        mel: Its front end.
        max_tokens: Greatest number of tokens in one forward.
        fp32_precision: Precision of the net's fp32 matrix products on a GPU, `ieee` or `tf32`; None
            keeps torch's setting.

    Attributes:
        max_tokens: Greatest number of tokens in one forward; may be changed.
        graphed: Forwards for windows of the most frequent length; None until `capture` is called.
    """

    def __init__(
        self, net: PaSST, mel: AugmentMelSTFT, max_tokens: int, fp32_precision: str | None = None
    ) -> None:
        self._net = net
        self._mel = mel
        self._device = net.cls_token.device
        self._fp32_precision = fp32_precision
        self._in_flight: deque[torch.cuda.Event] = deque()
        self.max_tokens = max_tokens
        self.graphed: GraphedForwards | None = None

    def capture(self, n_samples: int) -> GraphedForwards:
        """Set up forwards for many windows of one length, as CUDA graphs on a GPU.

        See `models.inference.cuda_graphs`.

        Args:
            n_samples: Samples per window.
        """
        max_windows = max(1, self.max_tokens // self._net.spec.n_tokens(n_samples))
        with torch.inference_mode(), matmul_precision(self._fp32_precision, self._device):
            self.graphed = GraphedForwards(self._net, self._mel, n_samples, max_windows)
        return self.graphed

    def __call__(self, windows: Sequence[Tensor]) -> DeviceOutputs:
        """Launch the embedding of windows.

        Args:
            windows: Windows of lengths that the arch takes, float32 (n_samples,) each, on any
                device.

        Returns:
            Logits (n, n_classes) and features (n, 768), float32, in the order of the windows. The
            device may still be computing them.
        """
        windows = [window.contiguous() for window in windows]
        order: list[int] = []
        outputs = []
        for rows, is_graphed in self._batches([len(window) for window in windows]):
            self._wait_for_in_flight()
            outputs.append(self._forward([windows[row] for row in rows], is_graphed))
            order += rows
            self._record_launch()
        return self._restore_order(outputs, order)

    def _batches(self, n_samples: Sequence[int]) -> Iterator[tuple[list[int], bool]]:
        """Yield the indices of windows that share a forward, and whether `graphed` computes it."""
        graphed = self.graphed
        full = [row for row, n in enumerate(n_samples) if graphed and n == graphed.n_samples]
        if graphed:
            begin = 0
            for count in graphed.split(len(full)):
                yield full[begin : begin + count], True
                begin += count
        others = sorted(set(range(len(n_samples))).difference(full))
        lengths = [n_samples[row] for row in others]
        for pack in packs(lengths, self._net.spec, self.max_tokens):
            yield [others[index] for index in pack], False

    def _forward(self, windows: Sequence[Tensor], is_graphed: bool) -> DeviceOutputs:
        staged = stage(windows, self._device)
        if is_graphed and self.graphed:
            return self.graphed(staged)
        pack = WindowPack([len(window) for window in windows], self._net.spec, self._device)
        with matmul_precision(self._fp32_precision, self._device):
            return embed_staged(staged, pack, self._net, self._mel)

    def _restore_order(
        self, outputs: Sequence[DeviceOutputs], order: Sequence[int]
    ) -> DeviceOutputs:
        """Join the outputs of all batches, each row at its index in `order`."""
        n, device = len(order), self._device
        logits = torch.empty(n, self._net.spec.n_classes, device=device)
        features = torch.empty(n, EMBED_DIM, device=device)
        if outputs:
            rows = small_tensor(order, torch.int64, device)
            # Outputs have fewer bits under a caller's autocast, or if the whole net was cast.
            logits[rows] = torch.cat([each for each, _ in outputs]).float()
            features[rows] = torch.cat([each for _, each in outputs]).float()
        return logits, features

    def _wait_for_in_flight(self) -> None:
        while len(self._in_flight) >= MAX_PACKS_IN_FLIGHT:
            self._in_flight.popleft().synchronize()

    def _record_launch(self) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._in_flight.append(event)
