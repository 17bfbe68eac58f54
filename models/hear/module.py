"""The common API of the HEAR modules: loading a model, scene and timestamp embeddings.

Every module of `models.hear` exports the methods of one `HearModule`. See
https://hearbenchmark.com/hear-api.html.
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
    """One module; its methods are what the Python module exports.

    Attributes:
        spec: arch and timestamps.
    """

    spec: HearSpec

    def load_model(
        self, model_file_path: str = "", mode: str = "all", **options: Any
    ) -> PasstWrapper:
        """The module's model in evaluation mode, on a GPU where there is one.

        Args:
            model_file_path: a state dict of the arch, or anything else that
                `load_weights` takes. Nothing, or an empty file (HEAR's tools want a
                path even of models that bring their own weights), means the published weights.
            mode: `all` (logits, then features), `embed_only` or `logits`.
            options: of `models.hear.wrapper.PasstWrapper`, as `scene_hop=5000` (ms).

        Raises:
            ModelError: weights that cannot be loaded, or options that cannot be.
        """
        weights = "auto" if _is_empty(model_file_path) else model_file_path
        model = get_basic_model(
            mode, self.spec.arch, weights=weights, timestamps=self.spec.timestamps, **options
        )
        return model.cuda() if torch.cuda.is_available() else model

    def get_basic_model(
        self, mode: str = "all", arch: str | None = None, **options: Any
    ) -> PasstWrapper:
        """`models.hear.factory.get_basic_model`, of this module's arch unless another is named."""
        return get_basic_model(mode, arch or self.spec.arch, **options)

    def get_scene_embeddings(
        self,
        audio: Tensor | Sequence[Tensor],
        model: PasstWrapper,
        sample_rate: int | None = None,
    ) -> Tensor:
        """`PasstWrapper.get_scene_embeddings`."""
        return model.get_scene_embeddings(audio, sample_rate)

    def get_timestamp_embeddings(
        self, audio: Tensor, model: PasstWrapper, sample_rate: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """`PasstWrapper.get_timestamp_embeddings`, with this module's levels."""
        return model.get_timestamp_embeddings(audio, self.spec.timestamps, sample_rate)


def _is_empty(model_file_path: str) -> bool:
    if not model_file_path:
        return True
    path = Path(model_file_path)
    return path.is_file() and path.stat().st_size == 0
