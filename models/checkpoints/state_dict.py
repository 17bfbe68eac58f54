"""Loading of state dicts from a published checkpoint, a file, a URI or a random seed.

A loaded state dict has exactly the keys and shapes of its arch, in float32. Its digest is computed
from the tensors, so the same weights have the same digest in any file format. Pickled code is never
run: torch files are read with `weights_only`.
"""

import hashlib
import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import torch as safetensors_torch
from torch import Tensor

from models.archs import ArchSpec
from models.checkpoints.model_store import OnProgress, is_uri
from models.checkpoints.published import fetch_published
from models.errors import WeightsError, first_line
from models.passt.transformer import PaSST

StateDict = dict[str, Tensor]
_RANDOM = re.compile(r"random:(\d+)")
_WRAPPER_KEYS = ("model", "state_dict")
_MAX_NESTING = 8
_MAX_LISTED_KEYS = 5


@dataclass(frozen=True)
class Weights:
    """A checked state dict with its origin and digest.

    Attributes:
        origin: Origin of the weights: `published`, `custom`, or `random:SEED`.
        digest: Digest of the tensors, as `state_dict_digest` computes it.
        state_dict: Tensors with exactly the arch's keys and shapes, float32.
    """

    origin: str
    digest: str
    state_dict: StateDict


def check_weights_name(weights: str) -> None:
    """Raise an error if a `--weights` value asks for random weights without a valid seed.

    Raises:
        WeightsError: The value is `random`, or `random:...` without a seed below 2**64.
    """
    if weights != "random" and not weights.startswith("random:"):
        return
    match = _RANDOM.fullmatch(weights)
    if not match or int(match[1]) >= 2**64:
        raise WeightsError(
            f"weights {weights!r}: a seed is a whole number below 2**64, as in random:0"
        )


def load_weights(weights: str, spec: ArchSpec, on_progress: OnProgress | None = None) -> Weights:
    """Load and check the weights that `--weights` names.

    Args:
        weights: `auto` (the published checkpoint), `random:SEED`, a path, or a URI that fsspec
            can open.
        spec: Arch that the weights must belong to.
        on_progress: Callback for the bytes of a published checkpoint that is downloaded.

    Raises:
        WeightsError: The weights cannot be read or do not belong to the arch; the message lists
            the keys that do not match.
        WeightsUnavailableError: The published checkpoint is not available on this machine.
    """
    check_weights_name(weights)
    if match := _RANDOM.fullmatch(weights):
        state_dict = random_state_dict(spec, int(match[1]))
        return Weights(weights, state_dict_digest(state_dict), state_dict)
    if weights == "auto":
        path = fetch_published(spec, on_progress)
        origin, name, content = "published", str(path), path.read_bytes()
    else:
        origin, name, content = "custom", weights, _read_file(weights)
    state_dict = fit_state_dict(parse_state_dict(content, name), spec, name)
    return Weights(origin, state_dict_digest(state_dict), state_dict)


def _read_file(location: str) -> bytes:
    try:
        if is_uri(location):
            import fsspec  # imported here: local files do not need fsspec

            with fsspec.open(location, "rb") as file:
                content: bytes = file.read()
                return content
        return Path(location).read_bytes()
    except FileNotFoundError:
        raise WeightsError(
            f"weights {location!r}: no such file; give a state dict, auto, or random:0 for a trial"
        ) from None
    except Exception as error:  # stores raise error classes of their own, as for credentials
        raise WeightsError(f"weights {location!r} cannot be read: {first_line(error)}") from error


def parse_state_dict(content: bytes, name: str) -> StateDict:
    """Parse a torch or safetensors file, and return its state dict without wrapper dicts.

    Args:
        content: Content of the file.
        name: Name of the file for error messages.

    Raises:
        WeightsError: The file is damaged, has another format, or holds pickled objects.
    """
    try:
        if content[8:9] == b"{":
            return safetensors_torch.load(content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights {name!r}: not a plain state dict: it is damaged, or it holds pickled "
            "objects, which are never run; save model.state_dict() with torch.save or safetensors"
        ) from error
    except Exception as error:  # torch.load raises errors of nearly any class on foreign bytes
        raise WeightsError(
            f"weights {name!r}: damaged, or neither torch nor safetensors ({len(content)} bytes: "
            f"{first_line(error)})"
        ) from error
    for _ in range(_MAX_NESTING):  # bounded, because a pickled dict can contain itself
        wrapped = loaded if isinstance(loaded, Mapping) else {}
        loaded = next(
            (wrapped[key] for key in _WRAPPER_KEYS if isinstance(wrapped.get(key), Mapping)), loaded
        )
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise WeightsError(f"weights {name!r}: holds no state dict but a {type(loaded).__name__}")
    return dict(loaded)


def fit_state_dict(state_dict: StateDict, spec: ArchSpec, name: str) -> StateDict:
    """Check a state dict against an arch, and return it in the arch's key order and float32.

    If any key has the `net.` prefix of the reference's wrapper, the prefix is removed and keys
    without it are dropped.

    Args:
        state_dict: Tensors as read from a file.
        spec: Arch that the tensors must belong to.
        name: Name of the file for error messages.

    Raises:
        WeightsError: Keys are missing or unexpected, or tensors have another shape, are not dense
            floats or hold values that are not finite. The first keys of each problem are listed.
    """
    if any(key.startswith("net.") for key in state_dict):
        state_dict = {
            key.removeprefix("net."): value
            for key, value in state_dict.items()
            if key.startswith("net.")
        }
    expected = expected_shapes(spec)
    problems = [
        *(("missing", key) for key in expected if key not in state_dict),
        *(("unexpected", key) for key in state_dict if key not in expected),
        *(
            ("misshapen", f"{key} {tuple(state_dict[key].shape)} instead of {tuple(shape)}")
            for key, shape in expected.items()
            if key in state_dict and state_dict[key].shape != shape
        ),
        *(
            ("not floats", f"{key} {str(state_dict[key].dtype).removeprefix('torch.')}")
            for key in expected
            if key in state_dict and not _is_dense_float(state_dict[key])
        ),
    ]
    if problems:
        raise WeightsError(
            f"weights {name!r} do not belong to arch {spec.name!r}: {_list_problems(problems)}"
        )
    fitted = {key: state_dict[key].float().contiguous() for key in expected}
    not_finite = [
        ("not finite", key) for key, value in fitted.items() if not value.isfinite().all()
    ]
    if not_finite:
        raise WeightsError(
            f"weights {name!r} hold NaN or infinite values, usually because training diverged: "
            f"{_list_problems(not_finite)}"
        )
    return fitted


def _is_dense_float(value: Tensor) -> bool:
    # A saved tensor may also be sparse, or on the meta device, where it has no values.
    return value.is_floating_point() and value.layout == torch.strided and not value.is_meta


def _list_problems(problems: list[tuple[str, str]]) -> str:
    parts = []
    for kind in dict(problems):
        keys = [key for problem, key in problems if problem == kind]
        if keys:
            listed, n_more = keys[:_MAX_LISTED_KEYS], len(keys) - _MAX_LISTED_KEYS
            more = f" and {n_more} more" if n_more > 0 else ""
            parts.append(f"{len(keys)} {kind} ({', '.join(listed)}{more})")
    return "; ".join(parts)


def expected_shapes(spec: ArchSpec) -> dict[str, torch.Size]:
    """Return the shape of each tensor in the arch's state dict, by key."""
    with torch.device("meta"):
        return {key: value.shape for key, value in PaSST(spec).state_dict().items()}


def random_state_dict(spec: ArchSpec, seed: int) -> StateDict:
    """Generate random weights for trials; a seed gives the same weights with the same torch.

    The values vary more than at the start of a training, where all tokens would be nearly equal.
    So the content and the order of the patches both affect the embedding.
    """
    generator = torch.Generator().manual_seed(seed)
    state_dict = {}
    for key, shape in expected_shapes(spec).items():
        noise = torch.empty(shape).normal_(generator=generator)
        if key.endswith(("_token", "pos_embed")):
            state_dict[key] = noise * 0.5
        elif key.endswith("bias"):
            state_dict[key] = noise * 0.05
        elif len(shape) == 1:
            state_dict[key] = 1.0 + 0.1 * noise
        else:
            state_dict[key] = noise * 0.03
    return state_dict


def state_dict_digest(state_dict: Mapping[str, Tensor]) -> str:
    """Compute the sha256 (hex) over keys, dtypes, shapes and values, sorted by key."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        value = state_dict[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
