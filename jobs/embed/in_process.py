"""A run in this process, shard after shard: for debugging, and to compare runs on Ray with."""

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
    """Embed and commit shards in this process.

    Args:
        run: Settings of the run's models and table.
        weights: Loaded weights by arch; the dictionary is emptied.
        shards: Shards to embed.
        monitor: Monitor that is called with every receipt and failure.

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
