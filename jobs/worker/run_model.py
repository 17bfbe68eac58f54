"""The model of a run in one process: one PaSST per route, behind the pipeline's model protocol.

In a precision below fp32, the model measures its own fidelity. The first windows of each route are
also embedded with the same weights in fp32, and the commits of this process record the difference.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from jobs.worker.decode_task import decode_on_node
from jobs.worker.routed_outputs import RouteBatch, RoutedOutputs
from models.archs import arch_spec
from models.checkpoints.state_dict import Weights, load_weights
from models.inference.embedder import Embedder, WarmUp
from models.inference.fidelity import Fidelity, combine, compare
from models.inference.outputs import Outputs, Vectors
from models.inference.timestamp_levels import timestamp_levels
from models.labels import Label, class_names, top_labels
from pipeline.audio import to_samples
from pipeline.embedding.canary import check_canary
from pipeline.embedding.model import AsyncModel
from pipeline.errors import PipelineError
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES
from pipeline.samples import Samples
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import Event
from pipeline.table.spec import TableSpec
from pipeline.table.store.hold import Hold
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table

Decode = Callable[..., Iterator[list[Event]]]
"""Function with the arguments and packets of `jobs.worker.decode_task.decode`."""
FIDELITY_WINDOWS = 8
"""Largest number of windows per route on which fidelity is measured."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """The description of a run that the driver sends to every process.

    Attributes:
        table_root: Folder or URI of the table.
        spec: Spec of the table.
        weights: Source of the weights of each arch, by the name of the arch.
        storage: Access to remote locations.
        hold: Hold of the table, which each commit checks; None for no check.
        decoder_memory_bytes: Memory that one step of a decoder may take, in bytes.
    """

    table_root: str
    spec: TableSpec
    weights: dict[str, str]
    storage: Storage = DEFAULT_STORAGE
    hold: Hold | None = None
    decoder_memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES

    @property
    def table(self) -> Table:
        """The table, opened for a process of the run."""
        return Table(open_store(self.table_root, self.storage), self.spec, hold=self.hold)

    @property
    def decode_rule(self) -> DecodeRule:
        """The rule for decoding clips: the table's, with the decoder memory of this run."""
        rule = self.spec.decode_rule
        limits = replace(rule.limits, decoder_memory_bytes=self.decoder_memory_bytes)
        return replace(rule, limits=limits)

    @property
    def decode(self) -> Decode:
        """The function that decodes a shard, from a module that does not import torch."""
        return decode_on_node

    def model(self, n_threads: int) -> AsyncModel:
        """Build the model for an actor.

        Args:
            n_threads: Number of torch threads on a CPU.

        Raises:
            PipelineError: The model cannot be used for this table, as in `build_model`.
            ModelError: The weights cannot be loaded.
        """
        return build_model(self, n_threads)


class RunModel:
    """The model of a run, which embeds each window by the route for its length.

    Args:
        spec: Spec of the table.
        weights: Weights by arch. Entries are removed once they are not needed any more.
        device: Name of the torch device that computes.
    """

    def __init__(self, spec: TableSpec, weights: dict[str, Weights], device: str) -> None:
        self._spec = spec
        self._device = device
        self._embedders = [
            self._embedder(route.arch, weights[route.arch], spec.precision) for route in spec.routes
        ]
        first = arch_spec(spec.routes[0].arch)
        self._levels = timestamp_levels(spec.timestamps, first) if spec.timestamps else ()
        self._measured: dict[str, Fidelity] = {}
        self._warm_ups: dict[str, WarmUp] = {}
        self._unmeasured = weights
        if spec.precision == "fp32":
            self._unmeasured.clear()
        self._class_names = class_names(first.classes)

    @property
    def fidelity(self) -> dict[str, Any] | None:
        """The fidelity over all measured routes; None in fp32 and before the first measurement."""
        if not self._measured:
            return None
        return {
            "precision": self._spec.precision,
            "device": _device_name(self._device),
            "archs": [route.arch for route in self._spec.routes if route.arch in self._measured],
            **combine(list(self._measured.values()))._asdict(),
        }

    @property
    def batch_samples(self) -> int:
        """Number of samples that fill a batch of the first route."""
        window = to_samples(self._spec.routes[0].up_to_s)
        n_tokens = arch_spec(self._spec.routes[0].arch).n_tokens(window)
        return window * max(1, self._embedders[0].engine.max_tokens // n_tokens)

    @property
    def warm_up(self) -> dict[str, Any] | None:
        """The results of `prepare`, by arch; None if nothing needed preparation."""
        results = {arch: each._asdict() for arch, each in self._warm_ups.items() if each.seconds}
        return results or None

    def prepare(self) -> None:
        """Warm up each route for windows of its length."""
        for route, embedder in zip(self._spec.routes, self._embedders, strict=True):
            self._warm_ups[route.arch] = embedder.warm_up(to_samples(route.up_to_s))

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """Embed float32 windows of any lengths, each by the route for its length."""
        return self.begin(windows).result()

    def begin(self, windows: Sequence[Samples]) -> RoutedOutputs:
        """Start to embed windows, and return outputs that a GPU may still be computing."""
        routes = [self._spec.route_index(len(window)) for window in windows]
        batches = []
        for route in sorted(set(routes)):
            rows = [row for row, each in enumerate(routes) if each == route]
            selected = [windows[row] for row in rows]
            measure = self._fidelity_measurement(self._spec.routes[route].arch, selected)
            batches.append(RouteBatch(rows, self._embedders[route].begin(selected), measure))
        return RoutedOutputs(batches, len(windows), self._spec.n_classes)

    def embed_one(self, arch: str, window: Samples) -> Vectors:
        """Embed a window by one of the archs, (dim,), without measuring fidelity."""
        index = [route.arch for route in self._spec.routes].index(arch)
        features: Vectors = self._embedders[index].embed([window]).features[0]
        return features

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Embed n timestamps of a stream by the first route's arch, (n, timestamp_dim)."""
        return self._embedders[0].embed_timestamps(self._levels, stream, n)

    def top_labels(self, logits: Vectors, k: int) -> list[list[Label]]:
        """Return the k most probable classes of each row of logits."""
        return top_labels(logits, self._class_names, k)

    def _fidelity_measurement(
        self, arch: str, windows: Sequence[Samples]
    ) -> Callable[[Vectors], None]:
        """Return a function that takes the features of windows and measures their fidelity."""
        measured = windows[:FIDELITY_WINDOWS] if arch in self._unmeasured else ()

        def measure(features: Vectors) -> None:
            # The weights are taken only now that the batch has succeeded. Meanwhile, another batch
            # may have been measured.
            weights = self._unmeasured.pop(arch, None)
            if measured and weights:
                reference = self._embedder(arch, weights, "fp32").embed(measured)
                self._measured[arch] = compare(features[: len(measured)], reference.features)

        return measure

    def _embedder(self, arch: str, weights: Weights, precision: str) -> Embedder:
        return Embedder(arch_spec(arch), weights.state_dict, self._device, precision=precision)


def default_device() -> str:
    """Return `cuda` if this process sees a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def build_model(
    run: RunSpec, n_threads: int | None = None, weights: dict[str, Weights] | None = None
) -> RunModel:
    """Build the run's model on this process's device, and check it against the table's canary.

    Args:
        run: Description of the run.
        n_threads: Number of torch threads; None keeps torch's default.
        weights: Weights by arch, if this process has loaded them already; emptied.

    Raises:
        PipelineError: The weights on this machine differ from the table's.
        ModelError: The weights cannot be loaded.
        DriftError: The model's embeddings differ from those of the model that wrote the table.
        StoreError: The table cannot be read or written.
    """
    if n_threads:
        torch.set_num_threads(n_threads)
    if weights is None:
        weights = {
            arch: load_weights(source, arch_spec(arch)) for arch, source in run.weights.items()
        }
    for route in run.spec.routes:
        if (digest := weights[route.arch].digest) != route.weights_digest:
            raise PipelineError(
                f"weights {run.weights[route.arch]!r} of {route.arch} have digest {digest} here, "
                f"but the table's are {route.weights_digest}; give every node the same file and "
                "the same torch"
            )
    model = RunModel(run.spec, weights, default_device())
    model.prepare()
    table = Table(open_store(run.table_root, run.storage), run.spec)
    check_canary(table, model.embed_one, _device_name(default_device()))
    return model
