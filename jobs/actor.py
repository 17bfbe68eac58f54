"""The actor that holds the model on Ray, and pulls the packets of one shard after the other.

It starts the decode task of its own shard, so audio goes from the decoder to the model and never
through the driver. The task's retries are off: a generator that is retried after a crash can end
early without an error, so a shard is tried again as a whole.
"""

import copy
import threading
from typing import Any

import ray

from jobs.decoding import decode
from jobs.model import RunSpec, build_model
from pipeline.commits import CommitRecord
from pipeline.plan import Shard
from pipeline.progress import Progress
from pipeline.shard import embed_shard
from pipeline.stores import open_store
from pipeline.table import Table

BACKPRESSURE_PACKETS = 4


class EmbedActor:
    """Holds the model and embeds whole shards.

    Args:
        run: what to embed with.
        n_threads: torch threads on a CPU.
    """

    def __init__(self, run: RunSpec, n_threads: int) -> None:
        self._model = build_model(run, n_threads)
        self._table = Table(open_store(run.table_root, run.storage), run.spec)
        self._run = run
        self._lock = threading.Lock()
        self._progress = Progress()

    def embed(self, shard: Shard) -> CommitRecord:
        """Embed, write and commit a shard; its receipt."""
        self._note(Progress())
        task: Any = ray.remote(decode)
        packets = task.options(
            num_cpus=1,
            num_returns="streaming",
            max_retries=0,
            _generator_backpressure_num_objects=BACKPRESSURE_PACKETS,
        ).remote(shard, self._run.spec.decode_rule, self._run.spec.columns, self._run.storage)
        return embed_shard(shard, map(ray.get, packets), self._model, self._table, self._note)

    def progress(self) -> Progress:
        """How far the current shard is."""
        with self._lock:
            return copy.deepcopy(self._progress)

    def _note(self, progress: Progress) -> None:
        with self._lock:
            self._progress = copy.deepcopy(progress)
