"""A net and its front end, fed with windows: packs, copies, forwards, and the order of the results.

The host prepares packs and launches them, and does not wait for the device; it is never further
ahead than `RUN_AHEAD` packs, which bounds the memory that windows under way take.
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
"""Packs that are copied or computed while the host prepares another one."""


class Engine:
    """Embeds windows of any mix of lengths, each as if it were alone.

    Args:
        net: the transformer.
        mel: its front end.
        max_tokens: most tokens in one forward.
        products: what of fp32 the net's matrix products keep on a GPU, `ieee` or `tf32`; None
            leaves it to torch's setting.

    Attributes:
        max_tokens: as given; may be changed.
        fixed: for windows of the length that most have; None before `fix`.
    """

    def __init__(
        self, net: PaSST, mel: AugmentMelSTFT, max_tokens: int, products: str | None = None
    ) -> None:
        self._net = net
        self._mel = mel
        self._device = net.cls_token.device
        self._products = products
        self._under_way: deque[torch.cuda.Event] = deque()
        self.max_tokens = max_tokens
        self.graphed: GraphedForwards | None = None

    def capture(self, n_samples: int) -> GraphedForwards:
        """Prepare for many windows of one length; see `models.inference.cuda_graphs`.

        Args:
            n_samples: of these windows.
        """
        most = max(1, self.max_tokens // self._net.spec.n_tokens(n_samples))
        with torch.inference_mode(), matmul_precision(self._products, self._device):
            self.graphed = GraphedForwards(self._net, self._mel, n_samples, most)
        return self.graphed

    def __call__(self, windows: Sequence[Tensor]) -> DeviceOutputs:
        """Launch what embeds windows.

        Args:
            windows: float32 (n_samples,) each, of lengths that the arch takes, on any device.

        Returns:
            Float32, a row a window, in their order.
        """
        windows = [window.contiguous() for window in windows]
        order: list[int] = []
        outputs = []
        for rows, is_fixed in self._batches([len(window) for window in windows]):
            self._let_device_catch_up()
            outputs.append(self._forward([windows[row] for row in rows], is_fixed))
            order += rows
            self._note_launch()
        return self._in_order(outputs, order)

    def _batches(self, n_samples: Sequence[int]) -> Iterator[tuple[list[int], bool]]:
        """Rows that go together, and whether in a forward of a fixed shape."""
        fixed = self.graphed
        full = [row for row, n in enumerate(n_samples) if fixed and n == fixed.n_samples]
        if fixed:
            begin = 0
            for count in fixed.split(len(full)):
                yield full[begin : begin + count], True
                begin += count
        others = sorted(set(range(len(n_samples))).difference(full))
        lengths = [n_samples[row] for row in others]
        for pack in packs(lengths, self._net.spec, self.max_tokens):
            yield [others[place] for place in pack], False

    def _forward(self, windows: Sequence[Tensor], is_fixed: bool) -> DeviceOutputs:
        staged = stage(windows, self._device)
        if is_fixed and self.graphed:
            return self.graphed(staged)
        pack = WindowPack([len(window) for window in windows], self._net.spec, self._device)
        with matmul_precision(self._products, self._device):
            return embed_staged(staged, pack, self._net, self._mel)

    def _in_order(self, outputs: Sequence[DeviceOutputs], order: Sequence[int]) -> DeviceOutputs:
        n, device = len(order), self._device
        logits = torch.empty(n, self._net.spec.n_classes, device=device)
        features = torch.empty(n, EMBED_DIM, device=device)
        if outputs:
            rows = small_tensor(order, torch.int64, device)
            # A caller's autocast, or a net that was cast as a whole, gives fewer bits.
            logits[rows] = torch.cat([each for each, _ in outputs]).float()
            features[rows] = torch.cat([each for _, each in outputs]).float()
        return logits, features

    def _let_device_catch_up(self) -> None:
        while len(self._under_way) >= MAX_PACKS_IN_FLIGHT:
            self._under_way.popleft().synchronize()

    def _note_launch(self) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self._device))
            self._under_way.append(event)
