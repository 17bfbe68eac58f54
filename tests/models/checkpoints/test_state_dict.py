"""Tests of state dicts: every origin and file format, intact and damaged files, digests."""

import contextlib
import io
import os
import pickle
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import fsspec
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import torch as safetensors_torch

from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.published import cached_path
from models.checkpoints.state_dict import (
    check_weights_name,
    expected_shapes,
    fit_state_dict,
    load_weights,
    parse_state_dict,
    random_state_dict,
    state_dict_digest,
)
from models.errors import WeightsError

# torch warns of these pickles before it refuses them, and pytest turns warnings into errors.
FOREIGN_PICKLES = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
TINY = {"a": torch.arange(6.0).reshape(2, 3), "b.bias": torch.ones(4)}


def save_torch(content: object, **options) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


FILE_CONTENTS = {
    "torch": save_torch(TINY),
    "legacy torch": save_torch(TINY, _use_new_zipfile_serialization=False),
    "safetensors": safetensors_torch.save(TINY),
    "model wrapper": save_torch({"model": TINY, "epoch": 3}),
    "state_dict wrapper": save_torch({"state_dict": TINY, "epoch": 3}),
    "both wrappers": save_torch({"model": {"state_dict": TINY}}),
    "both wrappers the other way": save_torch({"state_dict": {"model": TINY}}),
    "four wrappers": save_torch({"model": {"model": {"state_dict": {"model": TINY}}}}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory, small_state_dict):
    """The small state dict as a torch file and as a safetensors file."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(small_state_dict, folder / "small.pt")
    safetensors_torch.save_file(small_state_dict, folder / "small.safetensors")
    return SimpleNamespace(torch=folder / "small.pt", safetensors=folder / "small.safetensors")


def assert_same_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def zero_state_dict(spec) -> dict[str, torch.Tensor]:
    return {key: torch.zeros(()).expand(shape) for key, shape in expected_shapes(spec).items()}


def shape_settings(spec) -> tuple[int, int, int, int]:
    """Return the settings of an arch that determine the shapes of its state dict."""
    return spec.stride, spec.input_tdim, spec.n_classes, spec.depth


SPECS_BY_SHAPES = {shape_settings(spec): spec for spec in ARCHS.values()}


@pytest.mark.parametrize("spec", SPECS_BY_SHAPES.values(), ids=lambda spec: spec.name)
def test_safetensors_files_hold_all_shapes(spec, tmp_path):
    """The blocks are large and all alike, so one or two of them are enough."""
    spec = replace(spec, depth=spec.depth // 6)
    state_dict = random_state_dict(spec, 1)
    safetensors_torch.save_file(state_dict, tmp_path / "saved.safetensors")
    weights = load_weights(str(tmp_path / "saved.safetensors"), spec)
    assert weights.digest == state_dict_digest(state_dict)
    assert_same_tensors(weights.state_dict, state_dict)


@pytest.mark.parametrize("container", ["torch", "safetensors"])
def test_a_saved_file_loads_unchanged(container, files, small_spec, small_state_dict):
    weights = load_weights(str(getattr(files, container)), small_spec)
    assert weights.origin == "custom"
    assert weights.digest == state_dict_digest(small_state_dict)
    assert_same_tensors(weights.state_dict, small_state_dict)


def test_a_file_uri_is_loaded(files, small_spec, small_state_dict):
    weights = load_weights(files.torch.as_uri(), small_spec)
    assert weights.digest == state_dict_digest(small_state_dict)


def test_a_memory_uri_is_loaded(files, small_spec, small_state_dict):
    store = fsspec.filesystem("memory")
    store.pipe_file("/weights/small.pt", files.torch.read_bytes())
    try:
        weights = load_weights("memory://weights/small.pt", small_spec)
    finally:
        store.rm("/weights", recursive=True)
    assert weights.digest == state_dict_digest(small_state_dict)


def test_auto_loads_the_cached_checkpoint(
    files, small_spec, small_state_dict, tmp_path, monkeypatch
):
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path))
    cached_path(small_spec).parent.mkdir()
    os.link(files.torch, cached_path(small_spec))
    weights = load_weights("auto", small_spec)
    assert weights.origin == "published"
    assert weights.digest == state_dict_digest(small_state_dict)


@pytest.mark.parametrize("content", FILE_CONTENTS.values(), ids=FILE_CONTENTS)
def test_every_file_format_and_wrapper_gives_the_same_tensors(content):
    state_dict = parse_state_dict(content, "tiny")
    assert_same_tensors(state_dict, TINY)
    assert state_dict_digest(state_dict) == state_dict_digest(TINY)


def test_the_prefix_of_the_references_wrapper_is_removed(small_spec, small_state_dict):
    wrapped = {f"net.{key}": value for key, value in small_state_dict.items()}
    wrapped["device_proxy"] = torch.zeros(1)
    assert_same_tensors(fit_state_dict(wrapped, small_spec, "wrapped"), small_state_dict)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_dtypes_become_float32(dtype, small_spec, small_state_dict):
    other = {key: value.to(dtype) for key, value in small_state_dict.items()}
    fitted = fit_state_dict(other, small_spec, "other")
    assert_same_tensors(fitted, {key: value.float() for key, value in other.items()})
    assert {value.dtype for value in fitted.values()} == {torch.float32}


def test_keys_come_in_the_order_of_the_arch(small_spec):
    reversed_state_dict = dict(reversed(zero_state_dict(small_spec).items()))
    fitted = fit_state_dict(reversed_state_dict, small_spec, "reversed")
    assert list(fitted) == list(expected_shapes(small_spec))


def test_digest_ignores_key_order_and_memory_layout():
    other = {"b.bias": TINY["b.bias"], "a": TINY["a"].T.contiguous().T}
    assert state_dict_digest(other) == state_dict_digest(TINY)


@pytest.mark.parametrize(
    "changed",
    [
        {"c": TINY["a"]},
        {"a": TINY["a"].reshape(3, 2)},
        {"a": TINY["a"].nextafter(torch.tensor(9.0))},
        {"a": TINY["a"].view(torch.int32)},
    ],
    ids=["name", "shape", "last bit", "dtype"],
)
def test_digest_depends_on_names_shapes_values_and_dtypes(changed):
    assert state_dict_digest(changed) != state_dict_digest({"a": TINY["a"]})


def test_random_weights_depend_on_the_seed_alone(small_spec, small_state_dict):
    first = load_weights("random:0", small_spec)
    assert first.origin == "random:0"
    assert first.digest == state_dict_digest(small_state_dict)
    assert_same_tensors(first.state_dict, small_state_dict)
    assert load_weights("random:1", small_spec).digest != first.digest


def test_random_weights_have_the_shapes_of_the_arch(small_spec):
    state_dict = random_state_dict(small_spec, 3)
    assert {key: value.shape for key, value in state_dict.items()} == expected_shapes(small_spec)


@pytest.mark.parametrize(
    "name", ["random", "random:", "random:-1", "random:1.5", "random:x", f"random:{2**64}"]
)
def test_random_weights_without_a_valid_seed_are_refused(name, small_spec):
    with pytest.raises(WeightsError, match=f"{name}'.* a seed is a whole number"):
        check_weights_name(name)
    with pytest.raises(WeightsError, match="a seed is a whole number"):
        load_weights(name, small_spec)


@pytest.mark.parametrize("name", ["auto", "random:0", "random_init.pt", "s3://bucket/random.pt"])
def test_other_names_pass_the_check(name):
    check_weights_name(name)


@pytest.mark.parametrize("scheme", ["", "file://", "memory:/"])
def test_a_missing_file_raises_an_error_with_its_name(scheme, tmp_path, small_spec):
    location = f"{scheme}{tmp_path}/absent.pt"
    with pytest.raises(WeightsError, match=f"'{location}': no such file"):
        load_weights(location, small_spec)


def test_a_folder_raises_an_error_with_its_name(tmp_path, small_spec):
    with pytest.raises(WeightsError, match=f"'{tmp_path}' cannot be read"):
        load_weights(str(tmp_path), small_spec)


def test_an_unknown_protocol_raises_an_error_with_the_uri(small_spec):
    with pytest.raises(WeightsError, match=r"'nosuch://bucket/x\.pt' cannot be read: .*nosuch"):
        load_weights("nosuch://bucket/x.pt", small_spec)


@pytest.mark.parametrize("container", ["torch", "legacy torch", "safetensors"])
def test_a_truncated_file_raises_an_error_with_its_name(container, tmp_path, small_spec):
    content = FILE_CONTENTS[container]
    for n_bytes in range(0, len(content), 7):
        (tmp_path / "cut.pt").write_bytes(content[:n_bytes])
        with pytest.raises(WeightsError, match=f"'{tmp_path}/cut.pt': .*damaged"):
            load_weights(str(tmp_path / "cut.pt"), small_spec)


@FOREIGN_PICKLES
@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(pickle.PROTO.__add__))
@example(b"\x80\x02M")  # struct.error in torch.load
@example(b"\x80\x02e")  # IndexError
@example(b"RIFF\x24\x00\x00\x00WAVEfmt ")
@example(b'\xff\xff\xff\xff\xff\xff\xff\xff{"a"')  # a safetensors header of 2**64 - 1 bytes
def test_garbage_is_refused(content):
    with pytest.raises(WeightsError, match="'garbage': "):
        parse_state_dict(content, "garbage")


@FOREIGN_PICKLES
@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["torch", "legacy torch", "safetensors"]), st.data())
def test_a_flipped_byte_raises_no_other_error(container, data):
    """The file may load if a value is changed; then only the digest differs."""
    content = bytearray(FILE_CONTENTS[container])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(WeightsError):
        parse_state_dict(bytes(content), "flipped")


class PickledCode:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in a wrapper"])
@pytest.mark.parametrize("save", [partial(pickle.dumps, protocol=2), save_torch])
def test_pickled_code_is_not_run(save, wrapped, tmp_path, small_spec):
    code = PickledCode(tmp_path / "executed")
    content = save({"model": TINY, "extra": code} if wrapped else code)
    (tmp_path / "code.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"code\.pt': .* pickled objects, which are never run"):
        load_weights(str(tmp_path / "code.pt"), small_spec)
    assert not (tmp_path / "executed").exists()
    # An unsafe loader does run the code.
    load = partial(torch.load, weights_only=False) if save is save_torch else pickle.load
    load(io.BytesIO(content))
    assert (tmp_path / "executed").is_dir()


@pytest.mark.parametrize(
    "content",
    [[TINY["a"]], 3, None, {"a": 3.0}, {"model": [TINY["a"]]}, {1: TINY["a"]}],
    ids=["list", "number", "none", "dict of numbers", "wrapped list", "dict without names"],
)
def test_files_without_a_state_dict_are_refused(content):
    with pytest.raises(WeightsError, match="'other': holds no state dict"):
        parse_state_dict(save_torch(content), "other")


def test_missing_keys_are_listed(small_spec):
    incomplete = zero_state_dict(small_spec)
    del incomplete["norm.weight"], incomplete["cls_token"]
    expected = r"'cut\.pt' do not belong to arch 'passt_s_p16_s16_128_ap468': 2 missing \(cls_token"
    with pytest.raises(WeightsError, match=rf"{expected}, norm\.weight\)$"):
        fit_state_dict(incomplete, small_spec, "cut.pt")


def test_unexpected_keys_are_listed_up_to_five(small_spec):
    spec = ARCHS[small_spec.name]
    # There are eleven more blocks with twelve tensors each.
    expected = r"132 unexpected \((blocks\.1\.[a-z0-9.]+, ){4}blocks\.1\.[a-z0-9.]+ and 127 more\)$"
    with pytest.raises(WeightsError, match=expected):
        fit_state_dict(zero_state_dict(spec), small_spec, "deep.pt")


def test_misshapen_keys_are_listed_with_both_shapes(spec):
    other = zero_state_dict(ARCHS[DEFAULT_ARCH])
    with pytest.raises(WeightsError) as error:
        fit_state_dict(other, spec, "other.pt")
    assert str(error.value).endswith(
        "2 misshapen (freq_new_pos_embed (1, 768, 12, 1) instead of (1, 768, 8, 1), "
        "time_new_pos_embed (1, 768, 1, 99) instead of (1, 768, 1, 62))"
    )


def test_every_kind_of_problem_is_listed(small_spec):
    mixed = zero_state_dict(small_spec) | {"extra": TINY["a"], "norm.bias": torch.ones(3)}
    del mixed["norm.weight"]
    with pytest.raises(WeightsError) as error:
        fit_state_dict(mixed, small_spec, "mixed.pt")
    assert str(error.value).endswith(
        "1 missing (norm.weight); 1 unexpected (extra); "
        "1 misshapen (norm.bias (3,) instead of (768,))"
    )


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda value: value.long(), "int64"),
        (lambda value: value.bool(), "bool"),
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value.to_sparse(), "float32"),
        (lambda value: value.to("meta"), "float32"),
    ],
    ids=["integers", "bools", "complex", "sparse", "without values"],
)
def test_tensors_that_are_not_dense_floats_are_refused(change, dtype, small_spec, small_state_dict):
    other = small_state_dict | {"norm.bias": change(small_state_dict["norm.bias"])}
    message = rf"'other\.pt' .*: 1 not floats \(norm\.bias {dtype}\)$"
    with pytest.raises(WeightsError, match=message):
        fit_state_dict(other, small_spec, "other.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_keys_with_values_that_are_not_finite_are_listed(
    value, dtype, small_spec, small_state_dict
):
    broken = {
        key: small_state_dict[key].to(dtype, copy=True)
        for key in ("blocks.0.mlp.fc1.weight", "norm.bias")
    }
    for tensor in broken.values():
        tensor.view(-1)[-1] = value
    keys = r"2 not finite \(blocks\.0\.mlp\.fc1\.weight, norm\.bias\)$"
    with pytest.raises(
        WeightsError, match=rf"'broken\.pt' hold NaN or infinite values, .*: {keys}"
    ):
        fit_state_dict(small_state_dict | broken, small_spec, "broken.pt")


def test_values_too_large_for_float32_are_refused(small_spec, small_state_dict):
    large = small_state_dict | {"norm.bias": torch.full((768,), 1e300, dtype=torch.float64)}
    with pytest.raises(WeightsError, match=r"1 not finite \(norm\.bias\)"):
        fit_state_dict(large, small_spec, "large.pt")


def test_a_pickled_dict_that_contains_itself_is_refused():
    content: dict[str, object] = {}
    content["model"] = content
    with pytest.raises(WeightsError, match="'endless': holds no state dict"):
        parse_state_dict(save_torch(content), "endless")


def test_missing_credentials_are_reported_in_one_line(small_spec, monkeypatch):
    """Object stores raise error classes of their own, neither OSError nor ValueError."""

    class NoCredentialsError(Exception):
        pass

    def refuse(*args, **kwargs):
        raise NoCredentialsError("Unable to locate credentials\nmore of it")

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(
        WeightsError, match=r"'s3://b/x\.pt' cannot be read: Unable to .*credentials$"
    ):
        load_weights("s3://b/x.pt", small_spec)


def flip_bit(content: bytes, at: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize("container", ["torch", "safetensors"])
def test_a_flipped_bit_in_a_value_changes_only_the_digest(container):
    """Neither file format detects it: torch.load does not check the CRC of the zip it reads."""
    content = FILE_CONTENTS[container]
    at = content.index(TINY["a"].numpy().tobytes()) + 4
    state_dict = parse_state_dict(flip_bit(content, at), "flipped")
    assert state_dict["a"].view(-1)[1] != TINY["a"].view(-1)[1]
    assert state_dict_digest(state_dict) != state_dict_digest(TINY)


def test_a_flipped_bit_in_a_safetensors_header_is_refused_or_changes_keys_or_shapes():
    """The header holds names, shapes and offsets."""
    content = FILE_CONTENTS["safetensors"]
    n_refused = 0
    for at in range(8, content.index(b"}}")):
        try:
            state_dict = parse_state_dict(flip_bit(content, at), "flipped")
        except WeightsError:
            n_refused += 1
        else:
            assert {k: v.shape for k, v in state_dict.items()} != {
                k: v.shape for k, v in TINY.items()
            }
    assert n_refused > 50


def test_a_file_of_another_arch_raises_an_error_with_its_name(files, spec):
    with pytest.raises(WeightsError, match=f"'{files.torch}' do not belong to arch .*132 missing"):
        load_weights(str(files.torch), spec)
