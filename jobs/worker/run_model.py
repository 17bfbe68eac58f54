"""The model that a process of a run holds: one PaSST a route, behind the pipeline's protocol.

In a precision below fp32 it measures itself: the first windows that a route sees also go through
the same weights in fp32, and what that shows is stamped on the commits of this process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from jobs.worker.decode_task import decode_on_node
from jobs.worker.routed_outputs import BegunBatch, RoutedOutputs
from models.archs import arch_spec
from models.checkpoints.state_dict import Weights, load_weights
from models.inference.embedder import Embedder, WarmUp
from models.inference.fidelity import Fidelity, combined, compare
from models.inference.outputs import Outputs, Vectors
from models.inference.timestamp_levels import timestamp_levels
from models.labels import Label, class_names, top_labels
from pipeline.audio import Samples, to_samples
from pipeline.embedding.canary import check_canary
from pipeline.embedding.model import AsyncModel
from pipeline.errors import PipelineError
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import Event
from pipeline.table.spec import TableSpec
from pipeline.table.store.hold import Hold
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table

Decode = Callable[..., Iterator[list[Event]]]
"""Takes the arguments of `jobs.worker.decode_task.decode`."""
FIDELITY_WINDOWS = 8
"""Windows of each route that fidelity is measured on, at most."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What every process of a run is told, and what its actors make of it.

    Attributes:
        table_root: folder or URI of the table.
        spec: of the table.
        weights: where those of each arch come from.
        storage: how remote locations are reached.
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
        """The table as a process of the run opens it."""
        return Table(open_store(self.table_root, self.storage), self.spec, hold=self.hold)

    @property
    def decode_rule(self) -> DecodeRule:
        """How clips are decoded: the table's rule, within the limits of this run."""
        rule = self.spec.decode_rule
        limits = replace(rule.limits, decoder_memory_bytes=self.decoder_memory_bytes)
        return replace(rule, limits=limits)

    @property
    def decode(self) -> Decode:
        """What makes the packets of a shard; a function of a module without torch."""
        return decode_on_node

    def model(self, n_threads: int) -> AsyncModel:
        """The model that an actor holds.

        Args:
            n_threads: torch threads on a CPU.

        Raises:
            PipelineError, ModelError: as `build_model`.
        """
        return build_model(self, n_threads)


class RunModel:
    """Embeds windows and timestamps, each by the arch that the table's spec has for it.

    Args:
        spec: of the table.
        weights: by arch; emptied as soon as they are not needed any more.
        device: torch device.
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
        """Of the routes that have seen windows, in one; None in fp32 and before there is any."""
        if not self._measured:
            return None
        return {
            "precision": self._spec.precision,
            "device": _device_name(self._device),
            "archs": [route.arch for route in self._spec.routes if route.arch in self._measured],
            **combined(list(self._measured.values()))._asdict(),
        }

    @property
    def batch_samples(self) -> int:
        """Samples that fill a batch of the first route."""
        window = to_samples(self._spec.routes[0].up_to_s)
        n_tokens = arch_spec(self._spec.routes[0].arch).n_tokens(window)
        return window * max(1, self._embedders[0].engine.max_tokens // n_tokens)

    @property
    def warm_up(self) -> dict[str, Any] | None:
        """What preparing took, by arch; None where there was nothing to prepare."""
        took = {arch: found._asdict() for arch, found in self._warm_ups.items() if found.seconds}
        return took or None

    def prepare(self) -> None:
        """Prepare each route for windows of its length."""
        for route, embedder in zip(self._spec.routes, self._embedders, strict=True):
            self._warm_ups[route.arch] = embedder.warm_up(to_samples(route.up_to_s))

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """Embed float32 windows of any lengths, in order; each goes the route of its length."""
        return self.begin(windows).result()

    def begin(self, windows: Sequence[Samples]) -> RoutedOutputs:
        """`embed`, which a GPU may still be at when this returns."""
        routes = [self._spec.route_index(len(window)) for window in windows]
        begun = []
        for route in sorted(set(routes)):
            rows = [row for row, each in enumerate(routes) if each == route]
            ours = [windows[row] for row in rows]
            measure = self._measurement(self._spec.routes[route].arch, ours)
            begun.append(BegunBatch(rows, self._embedders[route].begin(ours), measure))
        return RoutedOutputs(begun, len(windows), self._spec.n_classes)

    def embed_one(self, arch: str, window: Samples) -> Vectors:
        """Embed a window by one of the archs, (dim,); it does not count for the fidelity."""
        place = [route.arch for route in self._spec.routes].index(arch)
        features: Vectors = self._embedders[place].embed([window]).features[0]
        return features

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Embed n timestamps, by the first route's arch."""
        return self._embedders[0].embed_timestamps(self._levels, stream, n)

    def top_labels(self, logits: Vectors, k: int) -> list[list[Label]]:
        """The k most probable classes of each row of logits."""
        return top_labels(logits, self._class_names, k)

    def _measurement(self, arch: str, windows: Sequence[Samples]) -> Callable[[Vectors], None]:
        """What takes the features of the windows, for the fidelity."""
        few = windows[:FIDELITY_WINDOWS] if arch in self._unmeasured else ()

        def measure(features: Vectors) -> None:
            # Only now: the call may have failed, or another one may have been measured meanwhile.
            weights = self._unmeasured.pop(arch, None)
            if few and weights:
                reference = self._embedder(arch, weights, "fp32")
                self._measured[arch] = compare(features[: len(few)], reference.embed(few).features)

        return measure

    def _embedder(self, arch: str, weights: Weights, precision: str) -> Embedder:
        return Embedder(arch_spec(arch), weights.state_dict, self._device, precision=precision)


def default_device() -> str:
    """A GPU where this process sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def build_model(
    run: RunSpec, n_threads: int | None = None, weights: dict[str, Weights] | None = None
) -> RunModel:
    """The run's model on this process's device.

    Args:
        run: what to load.
        n_threads: torch threads; None leaves torch's own choice.
        weights: by arch, where this process has them already; emptied.

    Raises:
        PipelineError: the weights found here are not those that the run was planned with.
        ModelError: they cannot be loaded.
        DriftError: the model embeds otherwise than those that wrote the table.
        StoreError: the table cannot be read or written.
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
