"""The actor that holds the model on Ray, and pulls the packets of its open shards.

It starts the decode tasks of its own shards, so audio goes from the decoders to the model and never
through the driver. The tasks' retries are off: a generator that is retried after a crash can end
early without an error, so a shard is tried again as a whole.
"""

import copy
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.cluster.metrics import ModelMetrics
from jobs.cluster.node_labels import without
from jobs.cluster.ray_errors import DecodeDiedError, SupersededError
from jobs.settings.sent_config import forget_config
from jobs.worker.node_fault import fault_here
from jobs.worker.run_model import RunSpec
from pipeline.embedding.dynamic_batching import DynamicBatcher
from pipeline.embedding.embed_shard import EmbeddedShard, embed_uncommitted
from pipeline.errors import HostError, PipelineError
from pipeline.progress import Counts
from pipeline.shards import Shard
from pipeline.stream.events import ClipStart, Event
from pipeline.table.commit_record import CommitRecord

BACKPRESSURE_PACKETS = 4
_SWITCH_INTERVAL_S = 5e-4
"""Time that a thread keeps the interpreter while another one waits, in seconds: a tenth of
Python's, as each launch on a GPU waits for the threads that unpack audio."""
_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, MemoryError)
"""What may be one clip's doing. Out of memory is as good as dead, whoever notices it first."""


class EmbedActor:
    """Holds the model and embeds whole shards, several at a time.

    A shard is embedded by one call and committed by another: of two actors that are at the same
    shard, the driver lets one write. One that it cannot reach does not write at all.

    Args:
        run: what to embed with.
        n_threads: torch threads on a CPU.
    """

    def __init__(self, run: RunSpec, n_threads: int) -> None:
        forget_config()
        self._run = run
        self._n_threads = n_threads
        self._model: DynamicBatcher
        self._table = run.table
        self._lock = threading.Lock()
        self._progress: dict[str, Counts] = {}
        self._embedded: dict[str, EmbeddedShard] = {}
        self._superseded: set[str] = set()
        # Audio had better not cross the network; but a full node must not hold the model up.
        self._near = NodeAffinitySchedulingStrategy(
            self.node(), soft=True, _spill_on_unavailable=True
        )

    def node(self) -> str:
        """Id of the node that it is on; known before the model is loaded."""
        return ray.get_runtime_context().get_node_id()

    def load(self) -> Mapping[str, Any] | None:
        """Load the model; what it did to be ready, as `model.BeginningModel.warm_up`.

        Raises:
            PipelineError, ModelError: as `RunSpec.model`.
        """
        if torch.cuda.is_available():
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
        model = self._run.model(self._n_threads)
        self._model = DynamicBatcher(
            model,
            partial(torch.set_num_threads, self._n_threads),
            ModelMetrics().answered,
        )
        return model.warm_up

    def embed(
        self,
        shard: Shard,
        poison: frozenset[int] = frozenset(),
        one_by_one: bool = False,
        avoided: frozenset[str] = frozenset(),
    ) -> None:
        """Embed a shard; `commit` or `drop` follows.

        Args:
            shard: what to embed.
            poison: places of clips that are not to be decoded: they kill the process that does.
            one_by_one: have a decoder that dies tell at which clip; slower.
            avoided: IDs of nodes that are not to decode it: their own faults have failed it.

        Raises:
            DecodeDiedError: the process that decoded it died.
            NodeFaultError: A node has a fault of its own.
            SupersededError: it was dropped.
            PipelineError: as `pipeline.embedding.embed_shard.embedded_shard`.
        """
        self._note(shard, Counts())
        try:
            packets = self._packets(shard, poison, one_by_one, avoided)
            embedded = embed_uncommitted(
                shard, packets, self._model, self._table, partial(self._note, shard)
            )
        except HostError as error:
            self._forget(shard)
            raise fault_here(error) from error
        except BaseException:
            self._forget(shard)
            raise
        self._embedded[shard.shard_id] = embedded

    def commit(self, shard: Shard) -> CommitRecord:
        """Write and commit a shard that is embedded; the record that stands.

        Raises:
            NodeFaultError: This node has a fault of its own.
            StoreError: the table could not be written.
        """
        try:
            return self._embedded.pop(shard.shard_id).commit()
        except HostError as error:
            raise fault_here(error) from error
        finally:
            self._forget(shard)

    def drop(self, shard: Shard) -> None:
        """Have done with a shard that another has committed, or will."""
        embedded = self._embedded.pop(shard.shard_id, None)
        if embedded:
            embedded.abandon()
            self._forget(shard)
            return
        with self._lock:
            if shard.shard_id in self._progress:
                self._superseded.add(shard.shard_id)

    def progress(self) -> dict[str, Counts]:
        """How far the open shards are, by their ids."""
        with self._lock:
            return copy.deepcopy(self._progress)

    def _packets(
        self, shard: Shard, poison: frozenset[int], one_by_one: bool, avoided: frozenset[str]
    ) -> Iterator[list[Event]]:
        task: Any = ray.remote(self._run.decode)
        where: dict[str, Any] = {"scheduling_strategy": self._near}
        if avoided:
            where = {"label_selector": without(avoided)}
        stream = task.options(
            num_cpus=1,
            num_returns="streaming",
            max_retries=0,
            **where,
            # One by one: the next clip is not begun before it is known here which one that is.
            _generator_backpressure_num_objects=1 if one_by_one else BACKPRESSURE_PACKETS,
        ).remote(
            shard,
            self._run.decode_rule,
            self._run.spec.columns,
            self._run.storage,
            poison,
            one_by_one,
        )
        clip = None
        try:
            for ref in stream:
                packet = ray.get(ref)
                if one_by_one:
                    clip = next((e.clip for e in packet if isinstance(e, ClipStart)), clip)
                yield packet
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, PipelineError):
                raise cause from None
            if isinstance(cause, ray.exceptions.OutOfDiskError):
                raise HostError("Ray's object store has no disk left to spill to") from None
            if not isinstance(cause, _DEATHS):
                raise
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            raise DecodeDiedError(reason, clip) from None

    def _note(self, shard: Shard, progress: Counts) -> None:
        with self._lock:
            if shard.shard_id in self._superseded:
                raise SupersededError(f"shard {shard.shard_id} has been committed by another")
            self._progress[shard.shard_id] = copy.deepcopy(progress)

    def _forget(self, shard: Shard) -> None:
        with self._lock:
            self._progress.pop(shard.shard_id, None)
            self._superseded.discard(shard.shard_id)
