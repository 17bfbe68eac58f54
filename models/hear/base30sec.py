"""HEAR module: 30 s scene windows, timestamp windows of 160 ms."""

from models.hear.factory import get_model_passt
from models.hear.module import HearModule
from models.hear.registry import HEAR_MODULES

_MODULE = HearModule(HEAR_MODULES["base30sec"])

load_model = _MODULE.load_model
get_basic_model = _MODULE.get_basic_model
get_scene_embeddings = _MODULE.get_scene_embeddings
get_timestamp_embeddings = _MODULE.get_timestamp_embeddings

__all__ = [
    "get_basic_model",
    "get_model_passt",
    "get_scene_embeddings",
    "get_timestamp_embeddings",
    "load_model",
]
