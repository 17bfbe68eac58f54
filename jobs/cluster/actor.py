"""The Ray actor that holds the model, starts decode tasks and embeds their packets.

The actor starts the decode tasks of its own shards, so audio goes from the decoders to the model
and never through the driver. Ray's retries are disabled for these tasks: a generator that Ray
retries after a crash can end early without an error. Instead, the driver retries the whole shard.
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
from jobs.cluster.node_labels import exclude_nodes
from jobs.cluster.ray_errors import DecodeDiedError, SupersededError
from jobs.settings.sent_config import remove_sent_config
from jobs.worker.node_fault import to_node_fault
from jobs.worker.run_model import RunSpec
from pipeline.embedding.dynamic_batching import DynamicBatcher
from pipeline.embedding.embed_shard import EmbeddedShard, embed_uncommitted
from pipeline.errors import HostError, PipelineError
from pipeline.progress import Counts
from pipeline.shards import Shard
from pipeline.stream.events import ClipStart, Event
from pipeline.table.commit_record import CommitRecord

BACKPRESSURE_PACKETS = 4
"""Number of packets that a decode task may produce before the actor consumes one."""
_SWITCH_INTERVAL_S = 5e-4
"""Time in seconds that a thread keeps the interpreter while another thread waits.

A tenth of Python's default, because each GPU launch waits for the threads that unpack audio."""
_WORKER_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, MemoryError)
"""Errors of a decode task that a clip may have caused. Running out of memory counts as a death,
whether Ray kills the process or Python raises the error."""


class EmbedActor:
    """An actor that holds the model and embeds whole shards, several at a time.

    Embedding and committing a shard are separate calls, so that the driver can let one of two
    actors with the same shard commit. An actor that the driver cannot reach does not commit.

    Args:
        run: Description of the run.
        n_threads: Number of torch threads on a CPU.
    """

    def __init__(self, run: RunSpec, n_threads: int) -> None:
        remove_sent_config()
        self._run = run
        self._n_threads = n_threads
        self._model: DynamicBatcher
        self._table = run.table
        self._lock = threading.Lock()
        self._progress: dict[str, Counts] = {}
        self._embedded: dict[str, EmbeddedShard] = {}
        self._superseded: set[str] = set()
        # Decoding on this node saves network traffic, but another node is better than waiting.
        self._prefer_this_node = NodeAffinitySchedulingStrategy(
            self.node(), soft=True, _spill_on_unavailable=True
        )

    def node(self) -> str:
        """Return the ID of the actor's node, which is known before the model is loaded."""
        return ray.get_runtime_context().get_node_id()

    def load(self) -> Mapping[str, Any] | None:
        """Load the model, and return the results of its warm-up, as `RunModel.warm_up`.

        Raises:
            PipelineError: The model cannot be used for this table, as in `build_model`.
            ModelError: The weights cannot be loaded.
        """
        if torch.cuda.is_available():
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
        model = self._run.model(self._n_threads)
        self._model = DynamicBatcher(
            model,
            partial(torch.set_num_threads, self._n_threads),
            ModelMetrics().record_call,
        )
        return model.warm_up

    def embed(
        self,
        shard: Shard,
        poison: frozenset[int] = frozenset(),
        one_by_one: bool = False,
        excluded_nodes: frozenset[str] = frozenset(),
    ) -> None:
        """Embed a shard without committing it; a call of `commit` or `drop` must follow.

        Args:
            shard: The shard to embed.
            poison: Indices of clips that killed decoders; they are not decoded again.
            one_by_one: Whether the decoder sends one event per packet, which is slower but shows
                the clip at which a decoder dies.
            excluded_nodes: IDs of nodes that must not decode the shard, because their own faults
                have failed it.

        Raises:
            DecodeDiedError: The process that decoded the shard died.
            NodeFaultError: A node has a fault of its own.
            SupersededError: The shard was dropped meanwhile.
            PipelineError: The shard cannot be embedded, as in `embed_uncommitted`.
        """
        self._set_progress(shard, Counts())
        try:
            packets = self._packets(shard, poison, one_by_one, excluded_nodes)
            embedded = embed_uncommitted(
                shard, packets, self._model, self._table, partial(self._set_progress, shard)
            )
        except HostError as error:
            self._clear_progress(shard)
            raise to_node_fault(error) from error
        except BaseException:
            self._clear_progress(shard)
            raise
        self._embedded[shard.shard_id] = embedded

    def commit(self, shard: Shard) -> CommitRecord:
        """Write and commit an embedded shard, and return the commit record in force.

        Raises:
            NodeFaultError: This node has a fault of its own.
            StoreError: The table cannot be written.
        """
        try:
            return self._embedded.pop(shard.shard_id).commit()
        except HostError as error:
            raise to_node_fault(error) from error
        finally:
            self._clear_progress(shard)

    def drop(self, shard: Shard) -> None:
        """Drop a shard that another actor has committed or will commit, embedded or in flight."""
        embedded = self._embedded.pop(shard.shard_id, None)
        if embedded:
            embedded.abandon()
            self._clear_progress(shard)
            return
        with self._lock:
            if shard.shard_id in self._progress:
                self._superseded.add(shard.shard_id)

    def progress(self) -> dict[str, Counts]:
        """Return the counts so far of the open shards, by shard ID."""
        with self._lock:
            return copy.deepcopy(self._progress)

    def _packets(
        self, shard: Shard, poison: frozenset[int], one_by_one: bool, excluded_nodes: frozenset[str]
    ) -> Iterator[list[Event]]:
        task: Any = ray.remote(self._run.decode)
        placement: dict[str, Any] = {"scheduling_strategy": self._prefer_this_node}
        if excluded_nodes:
            placement = {"label_selector": exclude_nodes(excluded_nodes)}
        stream = task.options(
            num_cpus=1,
            num_returns="streaming",
            max_retries=0,
            **placement,
            # One by one, the decoder waits until this actor has received the start of the clip.
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
            if not isinstance(cause, _WORKER_DEATHS):
                raise
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            raise DecodeDiedError(reason, clip) from None

    def _set_progress(self, shard: Shard, progress: Counts) -> None:
        with self._lock:
            if shard.shard_id in self._superseded:
                raise SupersededError(
                    f"shard {shard.shard_id} has been committed by another attempt"
                )
            self._progress[shard.shard_id] = copy.deepcopy(progress)

    def _clear_progress(self, shard: Shard) -> None:
        with self._lock:
            self._progress.pop(shard.shard_id, None)
            self._superseded.discard(shard.shard_id)
