"""Common API of the HEAR modules: loading a model, scene embeddings, timestamp embeddings.

Each HEAR module of `models.hear` exports the methods of one `HearModule` as its functions. The API
is specified at https://hearbenchmark.com/hear-api.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.hear.factory import get_basic_model
from models.hear.registry import HearSpec
from models.hear.wrapper import PasstWrapper


@dataclass(frozen=True, slots=True)
class HearModule:
    """Functions of one HEAR module, for its arch and its timestamp windows.

    Attributes:
        spec: Settings of the module.
    """

    spec: HearSpec

    def load_model(
        self, model_file_path: str = "", mode: str = "all", **options: Any
    ) -> PasstWrapper:
        """Load the module's model in evaluation mode, on the GPU if there is one.

        Args:
            model_file_path: Path of a state dict of the arch, or any other value that
                `load_weights` takes. An empty string or the path of an empty file means the
                published weights, because HEAR's tools require a path for every model.
            mode: Outputs of the model: `all` (logits, then features), `embed_only` (features) or
                `logits`.
            options: Further arguments of `models.hear.wrapper.PasstWrapper`, for example
                `scene_hop=5000` (ms).

        Raises:
            ModelError: The weights cannot be loaded or do not belong to the arch, or an option is
                invalid.
        """
        weights = "auto" if _names_no_weights(model_file_path) else model_file_path
        model = get_basic_model(
            mode, self.spec.arch, weights=weights, timestamps=self.spec.timestamps, **options
        )
        return model.cuda() if torch.cuda.is_available() else model

    def get_basic_model(
        self, mode: str = "all", arch: str | None = None, **options: Any
    ) -> PasstWrapper:
        """Build a model with `models.hear.factory.get_basic_model`, by default of our own arch."""
        return get_basic_model(mode, arch or self.spec.arch, **options)

    def get_scene_embeddings(
        self,
        audio: Tensor | Sequence[Tensor],
        model: PasstWrapper,
        sample_rate: int | None = None,
    ) -> Tensor:
        """Return `PasstWrapper.get_scene_embeddings` of a model."""
        return model.get_scene_embeddings(audio, sample_rate)

    def get_timestamp_embeddings(
        self, audio: Tensor, model: PasstWrapper, sample_rate: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `PasstWrapper.get_timestamp_embeddings` of a model, with this module's levels."""
        return model.get_timestamp_embeddings(audio, self.spec.timestamps, sample_rate)


def _names_no_weights(model_file_path: str) -> bool:
    if not model_file_path:
        return True
    path = Path(model_file_path)
    return path.is_file() and path.stat().st_size == 0
