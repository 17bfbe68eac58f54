"""The HEAR modules as one table: an arch, and how closely a timestamp embedding looks.

See https://hearbenchmark.com/hear-api.html for the common API.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.archs import DEFAULT_ARCH
from models.factory import get_basic_model
from models.wrapper import PasstWrapper


@dataclass(frozen=True, slots=True)
class HearModule:
    """One module of the common API; its methods are what the module exports.

    Attributes:
        name: of the Python module in `models.hear`.
        arch: name of its arch.
        timestamps: kind of its timestamp embeddings.
    """

    name: str
    arch: str
    timestamps: str

    def load_model(
        self, model_file_path: str = "", mode: str = "all", **options: Any
    ) -> PasstWrapper:
        """The module's model in evaluation mode, on a GPU where there is one.

        Args:
            model_file_path: a state dict of the arch, or anything else that
                `models.weights.load_weights` takes. Nothing, or an empty file (HEAR's tools want a
                path even of models that bring their own weights), means the published weights.
            mode: `all` (logits, then features), `embed_only` or `logits`.
            options: of `models.wrapper.PasstWrapper`, as `scene_hop=5000` (ms).

        Raises:
            ModelError: weights that cannot be loaded, or options that cannot be.
        """
        weights = "auto" if _is_empty(model_file_path) else model_file_path
        options = {"timestamps": self.timestamps} | options
        model = get_basic_model(mode, self.arch, weights=weights, **options)
        return model.cuda() if torch.cuda.is_available() else model

    def get_basic_model(
        self, mode: str = "all", arch: str | None = None, **options: Any
    ) -> PasstWrapper:
        """`models.factory.get_basic_model`, of this module's arch unless another is named."""
        return get_basic_model(mode, arch or self.arch, **options)

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
        return model.get_timestamp_embeddings(audio, self.timestamps, sample_rate)


HEAR_MODULES: dict[str, HearModule] = {
    module.name: module
    for module in (
        HearModule("base", DEFAULT_ARCH, "base"),
        HearModule("base20sec", "passt_20sec", "base"),
        HearModule("base30sec", "passt_30sec", "base"),
        HearModule("base2level", DEFAULT_ARCH, "base2level"),
        HearModule("base2levelF", DEFAULT_ARCH, "base2level"),
        HearModule("base2levelmel", DEFAULT_ARCH, "base2levelmel"),
        HearModule("hop160base", "stfthop160", "base"),
        HearModule("hop160base2lvl", "stfthop160", "base2level"),
        HearModule("hop160base2lvlmel", "stfthop160", "base2levelmel"),
        HearModule("hop100base", "stfthop100", "base"),
        HearModule("hop100base2lvl", "stfthop100", "base2level"),
        HearModule("hop100base2lvlmel", "stfthop100", "base2levelmel"),
        HearModule("openmic2008", "openmic", "base"),
    )
}


def _is_empty(model_file_path: str) -> bool:
    if not model_file_path:
        return True
    path = Path(model_file_path)
    return path.is_file() and path.stat().st_size == 0
