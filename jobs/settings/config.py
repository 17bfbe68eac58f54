"""The settings of a run: one pydantic model behind the options and the YAML file.

Whatever cannot work is refused here, before a model is loaded or Ray is started.
"""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jobs.settings.parsing import Bytes, Names, Seconds, as_list, as_names, as_pairs, with_always
from jobs.settings.routing import run_archs, weights_by_arch
from models.archs import DEFAULT_ARCH, ArchSpec
from models.inference.timestamp_levels import longest_window, timestamp_levels
from pipeline.audio import to_samples
from pipeline.error_classes import check_error_classes
from pipeline.io.http.host_rules import HostRules
from pipeline.io.signed_urls import QueryRule
from pipeline.io.storage import DEFAULT_TIMEOUT_S, Storage, parse_options
from pipeline.limits import (
    DEFAULT_DECODER_MEMORY_BYTES,
    DEFAULT_MAX_CLIP_BYTES,
    DEFAULT_MAX_CLIP_S,
    DEFAULT_SHORT_TOLERANCE,
)
from pipeline.sources.listing import AUTO, FORMATS, SourceOptions
from pipeline.wording import unknown_name

DEFAULT_TOP_K = 5
DEFAULT_MAX_PRUNE_RATIO = 0.5
RETRY_ALL = "all"
Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]


class EmbedConfig(BaseModel):
    """Settings of `passtream embed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Folders, files and globs of recordings; manifests (.csv, .jsonl, .parquet) "
        "that name some; - for uris on standard input.",
    )
    table: str = Field(default="", description="Folder or URI of the table.")
    source_format: str = Field(
        default=AUTO, description=f"What SOURCE is: {', '.join((AUTO, *FORMATS))}."
    )
    include: Names = Field(
        default=(), description="Take only files whose path below SOURCE matches, as '*.wav'."
    )
    exclude: Names = Field(
        default=(), description="Pass over files whose path below SOURCE matches."
    )
    follow_links: bool = Field(
        default=False, description="Follow links in folders that lead out of SOURCE."
    )
    columns: Names | None = Field(
        default=None, description="What the source says of its clips, to carry into the table."
    )
    audio_column: str | None = Field(
        default=None,
        description="Column that holds the audio (Parquet), or names recordings (manifests).",
    )
    allow_hosts: Names = Field(
        default=(),
        description="Hosts and buckets that a manifest or list may name, and a redirect may lead "
        "to, as example.org,*.cdn.net,s3://bucket. [default: all but metadata services]",
    )
    no_local: bool = Field(
        default=False, description="A manifest or list may name no files of this machine."
    )
    keep_query: Names = Field(
        default=(),
        description="Parameters of URLs that tell recordings apart, though they look like secrets.",
    )
    strip_query: Names = Field(
        default=(),
        description="Parameters of URLs to leave out of the table; all leaves out every one.",
    )
    arch: str = Field(default=DEFAULT_ARCH, description="The PaSST to embed with.")
    weights: str = Field(
        default="auto",
        description="auto (published, cached), a state dict's path or URI, or random:SEED; with "
        "--long-clips route ARCH=SOURCE,...",
    )
    precision: Precision = Field(
        default="fp32",
        description="fp32, tf32 (GPUs), bf16, fp16 or int8 (CPUs); the run measures what it costs.",
    )
    long_clips: Literal["window", "route"] = Field(
        default="window",
        description="window: cut for --arch; route: whole to 10, 20 or 30 s, each by its own arch.",
    )
    window_s: Seconds | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Longest window. [default: the arch's, 10 to 30]",
    )
    hop_s: Seconds | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="From one window to the next. [default: the arch's, 2.5 to 10]",
    )
    padding: Literal["hear", "none"] = Field(
        default="hear", description="hear: reflect half a window at both ends of long clips."
    )
    pad_short: bool = Field(
        default=False, description="Pad clips too short for one patch with zeros."
    )
    max_clip_s: Seconds = Field(
        default=DEFAULT_MAX_CLIP_S,
        gt=0,
        allow_inf_nan=False,
        description="Longest clip, as 90min or 24h; a longer one is an error, and not decoded "
        "further.",
    )
    max_clip_bytes: Bytes = Field(
        default=DEFAULT_MAX_CLIP_BYTES,
        ge=1,
        description="Largest file, as 500MB or 16GiB; a larger one is an error, and not read.",
    )
    decoder_memory: Bytes = Field(
        default=DEFAULT_DECODER_MEMORY_BYTES,
        ge=64 << 20,
        description="Memory that decoding one clip may take at once, as 2GiB; a clip "
        "that takes more is an error.",
    )
    short_tolerance: float = Field(
        default=DEFAULT_SHORT_TOLERANCE,
        ge=0,
        le=1,
        description="Share of a clip that may be missing of what its file promises.",
    )
    tables: Annotated[
        tuple[Literal["clips", "windows", "timestamps"], ...],
        BeforeValidator(as_names),
        AfterValidator(with_always("clips")),
    ] = Field(
        default=("clips",),
        description="Tables to write: clips (always), windows, timestamps.",
    )
    outputs: Annotated[
        tuple[Literal["embedding", "logits", "labels"], ...],
        BeforeValidator(as_names),
        AfterValidator(with_always("embedding")),
    ] = Field(
        default=("embedding",),
        description="Columns to write: embedding (always), logits, labels.",
    )
    top_k: int | None = Field(
        default=None, description="Labels a row, the most probable ones. [default: 5]"
    )
    timestamps: Literal["base", "base2level", "base2levelmel"] | None = Field(
        default=None,
        description="What a timestamp, one each 50 ms, is made of. base: windows of 160 ms; "
        "base2level: also of 0.8 s; base2levelmel: also the raw mel. [default: base]",
    )
    max_error_ratio: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of clips in errors above which the exit code is 4.",
    )
    prune: bool = Field(
        default=False, description="Drop the rows of clips that the source does not have any more."
    )
    max_prune_ratio: float = Field(
        default=DEFAULT_MAX_PRUNE_RATIO,
        ge=0,
        le=1,
        description="Share of the table's clips above which --prune drops nothing and refuses.",
    )
    retry: Names = Field(
        default=(),
        description="Try clips in errors again: their classes with commas between, or all.",
    )
    new_spec: bool = Field(
        default=False,
        description="Where TABLE was made with other settings, go on in TABLE-v2, TABLE-v3, ...: "
        "the version that has these, or a new one.",
    )
    shard_clips: int = Field(default=256, ge=1, description="Clips a shard.")
    actors: int | Literal["auto"] = Field(
        default="auto",
        description="Model processes; auto: one a GPU, also of nodes that join; without GPUs one a "
        "node.",
    )
    gpus_per_actor: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="GPUs of each; a fraction has several share one, 0 computes on CPUs. "
        "[default: 1 where there are GPUs]",
    )
    actor_timeout_s: Seconds = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="A model process that says nothing for so long is replaced.",
    )
    address: str = Field(
        default="local", description="local (a Ray of its own), auto (the running one), or a URL."
    )
    storage_options: Annotated[tuple[str, ...], BeforeValidator(as_pairs)] = Field(
        default=(),
        repr=False,
        description="NAME=VALUE for the filesystem of URIs, as endpoint_url=... or anon=true, or "
        "PREFIX:NAME=VALUE for one host or bucket; repeatable.",
    )
    store_timeout_s: Seconds = Field(
        default=DEFAULT_TIMEOUT_S,
        gt=0,
        description="How long a store may be out of order before a shard fails.",
    )
    in_process: bool = Field(default=False, description="Run without Ray, in this process.")
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="What standard error has: text for people, or json, an event a line.",
    )

    @property
    def storage(self) -> Storage:
        """How remote locations are reached."""
        rules = HostRules(self.allow_hosts, self.no_local)
        options = parse_options(self.storage_options)
        return Storage(options, self.store_timeout_s, rules).owning((*self.sources, self.table))

    @property
    def archs(self) -> tuple[ArchSpec, ...]:
        """The archs of the run, by length."""
        return run_archs(self.arch, self.long_clips)

    @property
    def window_and_hop_s(self) -> tuple[float, float]:
        """As given, or as the longest arch has them."""
        longest = self.archs[-1]
        return self.window_s or longest.max_window_s, self.hop_s or longest.scene_hop_s

    @property
    def source_options(self) -> SourceOptions:
        """How the sources are to be taken."""
        return SourceOptions(
            format=self.source_format,
            columns=self.columns,
            audio_column=self.audio_column,
            include=self.include,
            exclude=self.exclude,
            storage=self.storage,
            follow_links=self.follow_links,
            query=QueryRule(self.keep_query, self.strip_query),
        )

    @property
    def n_labels(self) -> int:
        """Labels a row; 0 where there are none."""
        if "labels" not in self.outputs:
            return 0
        return DEFAULT_TOP_K if self.top_k is None else self.top_k

    @property
    def timestamp_kind(self) -> str:
        """What a timestamp is made of; empty where there are none."""
        return (self.timestamps or "base") if "timestamps" in self.tables else ""

    @model_validator(mode="after")
    def _fits_together(self) -> "EmbedConfig":
        known = (AUTO, *FORMATS)
        if self.source_format not in known:
            raise ValueError(unknown_name("source_format", self.source_format, known, "formats"))
        check_error_classes(self.retry, also=(RETRY_ALL,))
        parse_options(self.storage_options)
        weights_by_arch(self.weights, self.archs)
        self._check_windows(self.archs[0])
        if "labels" in self.outputs:
            most = self.archs[0].n_classes
            if not 1 <= self.n_labels <= most:
                raise ValueError(
                    f"top_k must be 1 to {most}, the classes of arch {self.arch!r} "
                    f"(got {self.n_labels})"
                )
        elif self.top_k is not None:
            raise ValueError("top_k needs outputs labels: --outputs labels")
        if self.timestamps and not self.timestamp_kind:
            raise ValueError("timestamps needs its table: --tables timestamps")
        if self.actors != "auto" and self.actors < 1:
            raise ValueError(f"actors must be auto or at least 1 (got {self.actors})")
        return self

    def _check_windows(self, first: ArchSpec) -> None:
        window_s, hop_s = self.window_and_hop_s
        if self.long_clips == "route" and self.window_s is not None:
            raise ValueError(
                "window_s goes with long_clips window only: route takes clips whole up to 30 s "
                f"(got {self.window_s})"
            )
        if self.long_clips == "window" and window_s > first.max_window_s:
            raise ValueError(
                f"window_s must be at most {first.max_window_s} for arch {self.arch!r} "
                f"(got {window_s}); longer archs are passt_20sec and passt_30sec"
            )
        shortest, reason = first.min_samples, "one patch"
        if self.timestamp_kind:
            window = longest_window(timestamp_levels(self.timestamp_kind, first))
            if window // 2 + 1 > shortest:
                shortest, reason = window // 2 + 1, f"timestamps {self.timestamp_kind}"
        if to_samples(window_s) < shortest:
            raise ValueError(
                f"window_s must be at least {math.ceil(shortest / 3.2) / 10_000} for arch "
                f"{self.arch!r}, {reason} (got {window_s})"
            )
        if to_samples(hop_s) < 1:
            raise ValueError(f"hop_s must be at least one sample, 1/32000 (got {hop_s})")
