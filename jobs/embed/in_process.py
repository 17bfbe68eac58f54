"""A run's shards in this process, one after the other: for debugging, and to check Ray against."""

from collections.abc import Sequence

from jobs.runtime.monitor import Monitor
from jobs.worker.decode_task import decode
from jobs.worker.run_model import RunSpec, build_model
from models.checkpoints.state_dict import Weights
from pipeline.embedding.embed_shard import embed_shard
from pipeline.errors import CredentialsError, LostTableError, PipelineError
from pipeline.shards import Shard


def run_in_process(
    run: RunSpec, weights: dict[str, Weights], shards: Sequence[Shard], monitor: Monitor
) -> None:
    """Embed and commit shards.

    Args:
        run: what to embed with.
        weights: by arch, loaded already; emptied.
        shards: what to embed.
        monitor: told of every receipt and failure.

    Raises:
        LostTableError: Another run has the table now.
        CredentialsError: A store rejects the credentials.
    """
    monitor.start_phase("loading_model", "loading the model, and trying it on a short sound")
    model = build_model(run, weights=weights)
    monitor.start_phase("embedding", "embedding the first clips")
    table = run.table
    for shard in shards:
        packets = decode(shard, run.decode_rule, run.spec.columns, run.storage)
        try:
            record = embed_shard(
                shard, packets, model, table, lambda progress: monitor.in_flight([progress])
            )
        except (LostTableError, CredentialsError):
            raise  # no other shard could be committed either
        except PipelineError as error:
            monitor.shard_failed(shard, str(error))
        except MemoryError as error:
            monitor.shard_failed(shard, f"out of memory: {error}")
        except Exception as error:
            # As on Ray, where an actor's exception fails the shard and not the run.
            monitor.shard_failed(shard, f"{type(error).__name__}: {error}")
        else:
            monitor.shard_done(record)
