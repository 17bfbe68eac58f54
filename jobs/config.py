"""The settings of a run: one pydantic model behind the options and the YAML file.

An option that is given wins over the file, the file over the default. Whatever cannot work is
refused here, before a model is loaded or Ray is started.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from models.archs import DEFAULT_ARCH, SAMPLE_RATE_HZ, arch_spec
from models.errors import ModelError
from pipeline.clips import to_samples
from pipeline.errors import UsageError


def _split_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class EmbedConfig(BaseModel):
    """Settings of `passtream embed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] = Field(
        default=(), description="Folders, files and globs of recordings."
    )
    table: str = Field(default="", description="Folder of the table.")
    arch: str = Field(default=DEFAULT_ARCH, description="The PaSST to embed with.")
    weights: str = Field(
        default="auto",
        description="auto (published, cached), a state dict's path or URI, or random:SEED.",
    )
    window_s: float = Field(default=10.0, gt=0, description="Longest window, in seconds.")
    hop_s: float = Field(default=2.5, gt=0, description="From one window to the next, in seconds.")
    padding: Literal["hear", "none"] = Field(
        default="hear", description="hear: reflect half a window at both ends of long clips."
    )
    pad_short: bool = Field(
        default=False, description="Pad clips too short for one patch with zeros."
    )
    tables: Annotated[tuple[Literal["clips", "windows"], ...], BeforeValidator(_split_commas)] = (
        Field(default=("clips",), description="Tables to write: clips, windows.")
    )
    outputs: Annotated[
        tuple[Literal["embedding", "logits"], ...], BeforeValidator(_split_commas)
    ] = Field(default=("embedding",), description="Columns to write: embedding, logits.")
    shard_clips: int = Field(default=256, ge=1, description="Clips a shard.")
    actors: int | Literal["auto"] = Field(
        default="auto", description="Model processes; auto: one a GPU, or one where there is none."
    )
    address: str = Field(
        default="local", description="local (a Ray of its own), auto (the running one), or a URL."
    )
    in_process: bool = Field(default=False, description="Run without Ray, in this process.")
    max_error_ratio: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of clips in errors above which the exit code is 4.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "EmbedConfig":
        spec = arch_spec(self.arch)
        if self.window_s > spec.max_window_s:
            raise ValueError(
                f"window_s must be at most {spec.max_window_s} for arch {self.arch!r} "
                f"(got {self.window_s})"
            )
        if to_samples(self.window_s) < spec.min_samples:
            raise ValueError(
                f"window_s must be at least {spec.min_samples / SAMPLE_RATE_HZ:.4f} for arch "
                f"{self.arch!r}, one patch (got {self.window_s})"
            )
        if to_samples(self.hop_s) < 1:
            raise ValueError(f"hop_s must be at least one sample, 1/32000 (got {self.hop_s})")
        for name, required in (("tables", "clips"), ("outputs", "embedding")):
            if required not in getattr(self, name):
                raise ValueError(f"{name} must include {required!r}")
        if self.actors != "auto" and self.actors < 1:
            raise ValueError(f"actors must be auto or at least 1 (got {self.actors})")
        return self


def load_config(path: Path | None, options: Mapping[str, Any]) -> EmbedConfig:
    """Settings from a YAML file and the options that were given.

    Args:
        path: the file; None for none.
        options: by field name; None values were not given.

    Raises:
        UsageError: unreadable YAML, an unknown field, a bad value; the message names it.
    """
    fields: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"config {str(path)!r} cannot be read: {error}") from error
        if not isinstance(loaded or {}, dict):
            raise UsageError(f"config {str(path)!r} must be a mapping of settings to values")
        fields.update(loaded or {})
    fields.update({name: value for name, value in options.items() if value is not None})
    try:
        config = EmbedConfig.model_validate(fields)
    except ValidationError as error:
        raise UsageError("; ".join(_explained(problem) for problem in error.errors())) from error
    except ModelError as error:
        raise UsageError(str(error)) from error
    if not config.sources or not config.table:
        raise UsageError("name at least one SOURCE and the TABLE: passtream embed SOURCE... TABLE")
    return config


def _explained(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("literal"))
    if problem["type"] == "extra_forbidden":
        known = ", ".join(EmbedConfig.model_fields)
        return f"unknown setting {name!r}; the settings are: {known}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message} (got {problem['input']!r})" if name else message
