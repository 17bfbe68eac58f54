"""State dicts: from a published checkpoint, a file, a URI or a seed, to checked tensors.

Whatever the origin, what comes out has exactly the arch's keys and shapes in float32, and its
digest names the tensors themselves, so the same weights have one digest in any container. Pickled
code is never run: torch files are read with `weights_only`.
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
_WRAPPERS = ("model", "state_dict")
_MAX_NESTING = 8
_SHOWN_KEYS = 5


@dataclass(frozen=True)
class Weights:
    """A checked state dict.

    Attributes:
        origin: where it came from: `published`, `custom`, or `random:SEED`.
        digest: sha256 over names, shapes and values, hex.
        state_dict: exactly the arch's keys and shapes, float32.
    """

    origin: str
    digest: str
    state_dict: StateDict


def check_weights_name(weights: str) -> None:
    """Refuse a `--weights` value that no loader understands, before anything is read.

    Raises:
        WeightsError: the name is `random` or `random:...` without a seed that torch takes.
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
        weights: `auto`, `random:SEED`, a path, or a URI that fsspec can open.
        spec: the arch they must belong to.
        on_progress: told of the bytes of a download.

    Raises:
        WeightsError: unreadable, or not this arch's; the message lists the keys.
        WeightsUnavailableError: `auto`, and the file is neither cached nor reachable.
    """
    check_weights_name(weights)
    if match := _RANDOM.fullmatch(weights):
        state_dict = random_state_dict(spec, int(match[1]))
        return Weights(weights, state_dict_digest(state_dict), state_dict)
    if weights == "auto":
        path = fetch_published(spec, on_progress)
        origin, name, content = "published", str(path), path.read_bytes()
    else:
        origin, name, content = "custom", weights, _read(weights)
    state_dict = fit_state_dict(parse_state_dict(content, name), spec, name)
    return Weights(origin, state_dict_digest(state_dict), state_dict)


def _read(location: str) -> bytes:
    try:
        if is_uri(location):
            import fsspec  # only URIs need it

            with fsspec.open(location, "rb") as file:
                content: bytes = file.read()
                return content
        return Path(location).read_bytes()
    except FileNotFoundError:
        raise WeightsError(
            f"weights {location!r}: no such file; give a state dict, auto, or random:0 for a trial"
        ) from None
    except Exception as error:  # a store's own kinds as well: credentials, endpoints
        raise WeightsError(f"weights {location!r} cannot be read: {first_line(error)}") from error


def parse_state_dict(content: bytes, name: str) -> StateDict:
    """Tensors of a torch or safetensors file, unwrapped.

    Args:
        content: the file's bytes.
        name: what to call it in errors.

    Raises:
        WeightsError: damaged, of another format, or a pickle that holds more than tensors.
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
    except Exception as error:  # torch.load raises nearly anything on bytes that are not its own
        raise WeightsError(
            f"weights {name!r}: damaged, or neither torch nor safetensors ({len(content)} bytes: "
            f"{first_line(error)})"
        ) from error
    for _ in range(_MAX_NESTING):  # not without end: a pickle can hold itself
        wrapped = loaded if isinstance(loaded, Mapping) else {}
        loaded = next(
            (wrapped[w] for w in _WRAPPERS if isinstance(wrapped.get(w), Mapping)), loaded
        )
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise WeightsError(f"weights {name!r}: holds no state dict but a {type(loaded).__name__}")
    return dict(loaded)


def fit_state_dict(state_dict: StateDict, spec: ArchSpec, name: str) -> StateDict:
    """The tensors of `state_dict` as the arch takes them, in its order, float32.

    The `net.` prefix of the reference's wrapper is taken off.

    Raises:
        WeightsError: keys missing, unexpected, of another shape or type, or with values that are
            not finite; the first of each are listed.
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
            if key in state_dict and not _holds_floats(state_dict[key])
        ),
    ]
    if problems:
        raise WeightsError(
            f"weights {name!r} do not belong to arch {spec.name!r}: {_listed(problems)}"
        )
    fitted = {key: state_dict[key].float().contiguous() for key in expected}
    broken = [("not finite", key) for key, value in fitted.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(
            f"weights {name!r} hold NaN or infinite values, as a training that diverged leaves "
            f"them: {_listed(broken)}"
        )
    return fitted


def _holds_floats(value: Tensor) -> bool:
    # A saved tensor may also be sparse, or of the meta device and without values.
    return value.is_floating_point() and value.layout == torch.strided and not value.is_meta


def _listed(problems: list[tuple[str, str]]) -> str:
    parts = []
    for kind in dict(problems):
        keys = [key for problem, key in problems if problem == kind]
        if keys:
            more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
            parts.append(f"{len(keys)} {kind} ({', '.join(keys[:_SHOWN_KEYS])}{more})")
    return "; ".join(parts)


def expected_shapes(spec: ArchSpec) -> dict[str, torch.Size]:
    """Keys and shapes of the arch's state dict."""
    with torch.device("meta"):
        return {key: value.shape for key, value in PaSST(spec).state_dict().items()}


def random_state_dict(spec: ArchSpec, seed: int) -> StateDict:
    """Weights for trials: the same on every machine for one seed and one torch.

    They are drawn wider than a training start, which would leave all tokens nearly alike: here
    the order of the patches and what they hold move the embedding.
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
    """sha256 over the sorted names, dtypes, shapes and values, hex."""
    digest = hashlib.sha256()
    for key in sorted(state_dict):
        value = state_dict[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
