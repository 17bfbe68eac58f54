"""The commands of `passtream models`, which list archs, show one, and download checkpoints.

`list` and `show` need only the specs. They do not import torch, so they answer at once.
"""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from jobs.cli.examples import examples
from jobs.runtime.download_bar import fetch_bar
from jobs.runtime.run_log import RunLog
from models.archs import (
    ALIASES,
    ARCHS,
    EMBED_DIM,
    MEL_HIGH_HZ,
    MEL_LOW_HZ,
    N_FFT,
    N_HEADS,
    N_MELS,
    PATCH_SIZE,
    SAMPLE_RATE_HZ,
    STFT_WINDOW_SAMPLES,
    ArchSpec,
    arch_spec,
)
from models.checkpoints.published import CheckpointLocation, locate_checkpoints, source_of
from models.hear.registry import HEAR_MODULES

models_app = typer.Typer(
    help="List the archs, show one, and download published checkpoints.", no_args_is_help=True
)
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS = ("arch", "classes", "stride", "window_s", "stft_hop", "tokens", "depth", "weights")
_STATE_TEXTS = {"store": "in store", "cached": "cached", "absent": "not here"}
_ROW = "{:<31} {:<8} {:>6} {:>8} {:>8} {:>6} {:>5}  {}"


@models_app.command("list", epilog=examples("models list"))
def list_models(as_json: _AsJson = False) -> None:
    """List archs, one per line.

    `tokens` is for the longest window; `weights` says whether they are in the cache or store.
    """
    found = locate_checkpoints()
    if as_json:
        _print_json([describe_arch(spec, found[name]) for name, spec in ARCHS.items()])
        return
    print(_ROW.format(*_COLUMNS))
    for name, spec in ARCHS.items():
        print(
            _ROW.format(
                name,
                spec.classes,
                spec.stride,
                f"{spec.max_window_s:g}",
                spec.hop_samples,
                spec.n_tokens(_longest(spec)),
                spec.depth,
                _STATE_TEXTS[found[name].state],
            )
        )
        if aliases := _aliases(spec):
            print(f"    also {', '.join(aliases)}")


@models_app.command("show", epilog=examples("models show"))
def show_model(
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="Name or alias of an arch.")],
    as_json: _AsJson = False,
) -> None:
    """Show all properties of an arch."""
    spec = arch_spec(arch)
    facts = describe_arch(spec, locate_checkpoints()[spec.name])
    if as_json:
        _print_json(facts)
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{key:<{width}}  {'-' if shown in (None, '') else shown}")


@models_app.command("pull", epilog=examples("models pull"))
def pull_models(
    archs: Annotated[
        list[str], typer.Argument(metavar="ARCH...", help="Names or aliases of archs, or all.")
    ],
    to: Annotated[
        str | None,
        typer.Option(help="Folder or URI of a model store, for later use as PASSTREAM_MODELS."),
    ] = None,
) -> None:
    """Download published checkpoints to the cache, or to a model store."""
    names = ARCHS if "all" in archs else archs
    specs = dict.fromkeys(arch_spec(name) for name in names)
    from models.checkpoints.pull import pull  # imports torch, which takes seconds

    log = RunLog(Console(stderr=True, markup=False, highlight=False, soft_wrap=True))
    for spec in specs:
        with fetch_bar(spec.url if to else source_of(spec), log) as show:
            pulled = pull(spec, to, show)
        print(f"{pulled.location}  {pulled.n_bytes} bytes  sha256 {pulled.sha256}", flush=True)


def describe_arch(spec: ArchSpec, found: CheckpointLocation) -> dict[str, Any]:
    """Return the properties of an arch that `show` and `list --json` print."""
    longest = _longest(spec)
    return {
        "arch": spec.name,
        "aliases": _aliases(spec),
        "hear_modules": [hear.name for hear in HEAR_MODULES.values() if hear.arch == spec.name],
        "url": spec.url,
        "file": spec.file_name,
        "weights": found.state,
        "location": found.location,
        "sha256": found.sha256,
        "classes": spec.classes,
        "n_classes": spec.n_classes,
        "depth": spec.depth,
        "width": EMBED_DIM,
        "heads": N_HEADS,
        "patch_size": PATCH_SIZE,
        "stride": spec.stride,
        "grid": list(spec.grid),
        "input_tdim": spec.input_tdim,
        "n_parameters": spec.n_parameters,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "n_fft": N_FFT,
        "stft_window_samples": STFT_WINDOW_SAMPLES,
        "stft_hop_samples": spec.hop_samples,
        "mel_bands": N_MELS,
        "mel_range_hz": [MEL_LOW_HZ, MEL_HIGH_HZ],
        "shortest_window_samples": spec.min_samples,
        "shortest_window_s": round(spec.min_samples / SAMPLE_RATE_HZ, 4),
        "longest_window_samples": longest,
        "longest_window_s": spec.max_window_s,
        "longest_window_tokens": spec.n_tokens(longest),
        "longest_window_gflop": round(spec.flops(longest) / 1e9, 1),
        "scene_window_s": spec.max_window_s,
        "scene_hop_s": spec.scene_hop_s,
    }


def _longest(spec: ArchSpec) -> int:
    return round(spec.max_window_s * SAMPLE_RATE_HZ)


def _aliases(spec: ArchSpec) -> list[str]:
    return [alias for alias, arch in ALIASES.items() if arch == spec.name]


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()
