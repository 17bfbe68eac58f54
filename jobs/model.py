"""The model that a process of a run holds, and what it needs to know to load it."""

from dataclasses import dataclass

import torch

from models.archs import arch_spec
from models.embedder import Embedder
from models.weights import Weights, load_weights
from pipeline.errors import PipelineError
from pipeline.spec import TableSpec

GPU_BATCH_TOKENS = 64 * 1190
CPU_BATCH_TOKENS = 4 * 1190


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What every process of a run is told.

    Attributes:
        table_root: folder of the table.
        spec: of the table.
        weights: as given by `--weights`.
    """

    table_root: str
    spec: TableSpec
    weights: str


def default_device() -> str:
    """A GPU where this process sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def build_model(
    run: RunSpec, n_threads: int | None = None, weights: Weights | None = None
) -> Embedder:
    """The run's model on this process's device.

    Args:
        run: what to load.
        n_threads: torch threads; None leaves torch's own choice.
        weights: the weights, where this process has them already.

    Raises:
        PipelineError: the weights found here are not those that the run was planned with.
        ModelError: they cannot be loaded.
    """
    if n_threads:
        torch.set_num_threads(n_threads)
    arch = arch_spec(run.spec.arch)
    weights = weights or load_weights(run.weights, arch)
    if weights.digest != run.spec.weights_digest:
        raise PipelineError(
            f"weights {run.weights!r} have digest {weights.digest} here, but the table's are "
            f"{run.spec.weights_digest}; give every node the same file and the same torch"
        )
    device = default_device()
    tokens = CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS
    return Embedder(arch, weights.state_dict, device, tokens)
