"""The settings of a run, as options and YAML give them; what cannot work is refused here."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jobs.settings.cross_checks import check_top_k, check_window_and_hop, check_window_is_default
from jobs.settings.parsing import Bytes, Names, Outputs, Seconds, Tables, as_list, as_pairs
from jobs.settings.routing import run_archs, weights_by_arch
from models.archs import DEFAULT_ARCH, ArchSpec
from pipeline.error_classes import check_error_classes
from pipeline.io.http.host_rules import HostRules
from pipeline.io.signed_urls import QueryRule
from pipeline.io.storage import DEFAULT_TIMEOUT_S, Storage
from pipeline.io.storage_options import parse_options
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
"""Value of `retry` that stands for every error class."""
Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]


class EmbedConfig(BaseModel):
    """Settings of `passtream embed`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: Annotated[tuple[str, ...], BeforeValidator(as_list)] = Field(
        default=(),
        description="Folders, files and globs of recordings; manifests (.csv, .jsonl, .parquet) "
        "that list recordings; - for URIs on standard input.",
    )
    table: str = Field(default="", description="Folder or URI of the table.")
    source_format: str = Field(
        default=AUTO, description=f"Format of SOURCE: {', '.join((AUTO, *FORMATS))}."
    )
    include: Names = Field(
        default=(), description="Take only files whose path below SOURCE matches, such as '*.wav'."
    )
    exclude: Names = Field(default=(), description="Skip files whose path below SOURCE matches.")
    follow_links: bool = Field(
        default=False, description="Follow links in folders that lead out of SOURCE."
    )
    columns: Names | None = Field(
        default=None, description="Columns of the source to copy into the table."
    )
    audio_column: str | None = Field(
        default=None,
        description="Column that holds the audio (Parquet) or names the recordings (manifests).",
    )
    allow_hosts: Names = Field(
        default=(),
        description="Hosts and buckets that a manifest or list may name and a redirect may lead "
        "to, such as example.org,*.cdn.net,s3://bucket. [default: all but metadata services]",
    )
    no_local: bool = Field(
        default=False, description="Refuse files of this machine in a manifest or list."
    )
    keep_query: Names = Field(
        default=(),
        description="URL parameters that identify a recording although they look like secrets.",
    )
    strip_query: Names = Field(
        default=(),
        description="URL parameters to leave out of the table; all leaves out every parameter.",
    )
    arch: str = Field(default=DEFAULT_ARCH, description="PaSST model to embed with.")
    weights: str = Field(
        default="auto",
        description="auto (published, cached), a state dict's path or URI, or random:SEED; with "
        "--long-clips route, ARCH=SOURCE,...",
    )
    precision: Precision = Field(
        default="fp32",
        description="fp32, tf32 (GPUs), bf16, fp16 or int8 (CPUs); the run measures its fidelity.",
    )
    long_clips: Literal["window", "route"] = Field(
        default="window",
        description="window: cut long clips into windows for --arch; route: embed clips of up to "
        "10, 20 and 30 s whole, each with the arch for its length.",
    )
    window_s: Seconds | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Length of the longest window. [default: the arch's, 10 to 30]",
    )
    hop_s: Seconds | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Time from one window to the next. [default: the arch's, 2.5 to 10]",
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
        description="Longest clip, such as 90min or 24h; a longer clip is an error and is not "
        "decoded further.",
    )
    max_clip_bytes: Bytes = Field(
        default=DEFAULT_MAX_CLIP_BYTES,
        ge=1,
        description="Largest file, such as 500MB or 16GiB; a larger file is an error and is not "
        "read.",
    )
    decoder_memory: Bytes = Field(
        default=DEFAULT_DECODER_MEMORY_BYTES,
        ge=64 << 20,
        description="Memory that decoding a clip may take at once, such as 2GiB; a clip that "
        "takes more is an error.",
    )
    short_tolerance: float = Field(
        default=DEFAULT_SHORT_TOLERANCE,
        ge=0,
        le=1,
        description="Share of the length declared by its file that a clip may lack.",
    )
    tables: Tables = Field(
        default=("clips",),
        description="Tables to write: clips (always), windows, timestamps.",
    )
    outputs: Outputs = Field(
        default=("embedding",),
        description="Columns to write: embedding (always), logits, labels.",
    )
    top_k: int | None = Field(
        default=None, description="Number of most probable labels per row. [default: 5]"
    )
    timestamps: Literal["base", "base2level", "base2levelmel"] | None = Field(
        default=None,
        description="Parts of a timestamp's vector (one timestamp per 50 ms). base: windows of "
        "160 ms; base2level: also of 0.8 s; base2levelmel: also the raw mel. [default: base]",
    )
    max_error_ratio: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of failed clips above which the exit code is 4.",
    )
    prune: bool = Field(
        default=False, description="Drop the rows of clips that the source no longer has."
    )
    max_prune_ratio: float = Field(
        default=DEFAULT_MAX_PRUNE_RATIO,
        ge=0,
        le=1,
        description="Share of the table's clips above which --prune refuses and drops nothing.",
    )
    retry: Names = Field(
        default=(),
        description="Retry failed clips: their error classes, separated by commas, or all.",
    )
    new_spec: bool = Field(
        default=False,
        description="If TABLE was made with other settings, continue in TABLE-v2, TABLE-v3, ...: "
        "the version with these settings, or a new one.",
    )
    shard_clips: int = Field(default=256, ge=1, description="Clips per shard.")
    actors: int | Literal["auto"] = Field(
        default="auto",
        description="Number of model processes. auto: one per GPU, also on nodes that join later; "
        "without GPUs, one per node.",
    )
    gpus_per_actor: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="GPUs per model process; with a fraction, several share a GPU; 0 computes on "
        "CPUs. [default: 1 where there are GPUs]",
    )
    actor_timeout_s: Seconds = Field(
        default=120.0,
        gt=0,
        allow_inf_nan=False,
        description="Time without an answer after which a model process is replaced.",
    )
    address: str = Field(
        default="local",
        description="local (start Ray for this run), auto (join the running Ray), or a URL.",
    )
    storage_options: Annotated[tuple[str, ...], BeforeValidator(as_pairs)] = Field(
        default=(),
        repr=False,
        description="NAME=VALUE for the filesystem of URIs, such as endpoint_url=... or anon=true, "
        "or PREFIX:NAME=VALUE for one host or bucket; repeatable.",
    )
    store_timeout_s: Seconds = Field(
        default=DEFAULT_TIMEOUT_S,
        gt=0,
        description="Time that a store may be unavailable before a shard fails.",
    )
    in_process: bool = Field(default=False, description="Run without Ray, in this process.")
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="Format of standard error: text for people, or json with one event per line.",
    )

    @property
    def storage(self) -> Storage:
        """Access to remote locations: filesystem options, timeout and rules for hosts."""
        rules = HostRules(self.allow_hosts, self.no_local)
        options = parse_options(self.storage_options)
        own = (*self.sources, self.table)
        return Storage(options, self.store_timeout_s, rules).with_own_hosts(own)

    @property
    def archs(self) -> tuple[ArchSpec, ...]:
        """The archs of the run, ordered by the length of the clips that they embed."""
        return run_archs(self.arch, self.long_clips)

    @property
    def window_and_hop_s(self) -> tuple[float, float]:
        """Window and hop in seconds, as given or else the defaults of the longest arch."""
        longest = self.archs[-1]
        return self.window_s or longest.max_window_s, self.hop_s or longest.scene_hop_s

    @property
    def source_options(self) -> SourceOptions:
        """Options for listing the sources."""
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
        """Number of labels per row; 0 if no labels are written."""
        if "labels" not in self.outputs:
            return 0
        return DEFAULT_TOP_K if self.top_k is None else self.top_k

    @property
    def timestamp_kind(self) -> str:
        """The kind of timestamps, such as `base`; empty if no timestamps are written."""
        return (self.timestamps or "base") if "timestamps" in self.tables else ""

    @model_validator(mode="after")
    def _check_together(self) -> "EmbedConfig":
        known = (AUTO, *FORMATS)
        if self.source_format not in known:
            raise ValueError(unknown_name("source_format", self.source_format, known, "formats"))
        check_error_classes(self.retry, also=(RETRY_ALL,))
        parse_options(self.storage_options)
        weights_by_arch(self.weights, self.archs)
        first, kind, is_routed = self.archs[0], self.timestamp_kind, self.long_clips == "route"
        if is_routed:
            check_window_is_default(self.window_s)
        check_window_and_hop(self.window_and_hop_s, first, self.arch, kind, is_routed)
        if "labels" in self.outputs:
            check_top_k(self.n_labels, first, self.arch)
        elif self.top_k is not None:
            raise ValueError("top_k needs outputs labels: --outputs labels")
        if self.timestamps and not self.timestamp_kind:
            raise ValueError("timestamps needs its table: --tables timestamps")
        if self.actors != "auto" and self.actors < 1:
            raise ValueError(f"actors must be auto or at least 1 (got {self.actors})")
        return self
