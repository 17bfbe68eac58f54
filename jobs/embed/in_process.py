"""The embedding of shards in this process, one shard at a time, without Ray.

It serves debugging, and comparisons with runs on Ray.
"""

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
        run: Description of the run, with its models and its table.
        weights: Loaded weights by arch. The dictionary is emptied.
        shards: Shards to embed.
        monitor: Monitor that counts and logs every committed or failed shard.

    Raises:
        LostTableError: Another run has the table now.
        CredentialsError: A store rejects the credentials.
    """
    monitor.start_phase("loading_model", "loading the model and testing it on short audio")
    model = build_model(run, weights=weights)
    monitor.start_phase("embedding", "embedding the first clips")
    table = run.table
    for shard in shards:
        packets = decode(shard, run.decode_rule, run.spec.columns, run.storage)
        try:
            record = embed_shard(
                shard, packets, model, table, lambda progress: monitor.set_in_flight([progress])
            )
        except (LostTableError, CredentialsError):
            raise  # the remaining shards would fail in the same way
        except PipelineError as error:
            monitor.shard_failed(shard, str(error))
        except MemoryError as error:
            monitor.shard_failed(shard, f"out of memory: {error}")
        except Exception as error:
            # The run continues, as on Ray, where an exception of an actor fails only its shard.
            monitor.shard_failed(shard, f"{type(error).__name__}: {error}")
        else:
            monitor.shard_done(record)
