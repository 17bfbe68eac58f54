"""Tests of the net and the front end on our Triton kernels, compared with torch's operators.

The kernels run in Triton's interpreter on a CPU. The launches and written bytes of a GPU are
counted on fake CUDA tensors.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import models.passt.attention
from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.hear.factory import front_end
from models.inference.packing import embed_staged
from models.inference.staging import StagedWindows, stage
from models.passt.fused import has_kernels
from models.passt.pack_layout import WindowPack
from models.passt.transformer import PaSST
from tests.models import counted_kernels

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="counts on a CPU")
pytest.importorskip("triton")
SPEC = replace(ARCHS[DEFAULT_ARCH], depth=2)
FULL = ARCHS[DEFAULT_ARCH]
CPU = torch.device("cpu")
LENGTHS = (6_500, 5_120, 5_120)


@contextmanager
def interpret_kernels():
    """Let nets on a CPU use the kernels, which Triton interprets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.passt.fused.has_kernels", lambda device: True)
        yield


@pytest.fixture(scope="module")
def net():
    net = PaSST.from_state_dict(SPEC, random_state_dict(SPEC, 0)).requires_grad_(False)
    for block in net.blocks:
        # The biases of a new net are zero, so a missing one would not be noticed.
        for linear in (block.attn.proj, block.mlp.fc2):
            nn.init.normal_(linear.bias)
    return net


def test_fused_forward_equals_torch_operators(net, noise):
    mel = front_end(SPEC)
    staged = stage([torch.from_numpy(noise(n, n)) for n in LENGTHS], CPU)
    pack = WindowPack(LENGTHS, SPEC, CPU)
    with torch.inference_mode():
        expected = embed_staged(staged, pack, net, mel)
        with interpret_kernels():
            found = embed_staged(staged, pack, net, mel)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_fused_front_end_equals_torch_operators(noise):
    mel = front_end(SPEC)
    staged = stage([torch.from_numpy(noise(n, n)) for n in LENGTHS], CPU)
    pack = WindowPack(LENGTHS, SPEC, CPU)
    index = pack.stream_index(staged.offsets)
    with torch.inference_mode():
        expected = mel.frames(staged.samples, index)
        torch.testing.assert_close(
            mel._frames_on_gpu(staged.samples, index), expected, atol=1e-5, rtol=0
        )
        assert not mel.can_fuse(staged.samples)
        with interpret_kernels():
            assert mel.can_fuse(staged.samples)
        found = mel.fused_frames(*staged, pack.frame_slots)
    for begin in pack.patch_frames.tolist():
        ours, theirs = found[begin : begin + 16], expected[begin : begin + 16]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_all_fused_tokens_equal_torch_operators(net):
    spectrogram = torch.randn(2, 128, 30)
    with torch.inference_mode():
        expected = net.encode(spectrogram), *net(spectrogram)
        with interpret_kernels():
            found = net.encode(spectrogram), *net(spectrogram)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_gradients_autocast_hooks_and_subclasses_prevent_fusion(net, monkeypatch):
    monkeypatch.setattr("models.passt.fused.has_kernels", lambda device: True)
    tokens, block = torch.zeros(1, 768), net.blocks[0]
    assert not block.can_fuse(tokens)
    with torch.no_grad():
        assert block.can_fuse(tokens)
        with torch.autocast("cpu", torch.bfloat16):
            assert not block.can_fuse(tokens)
        hook = block.mlp.register_forward_hook(lambda *_: None)
        assert not block.can_fuse(tokens)
        hook.remove()

        class Adapted(type(block.attn.proj)):
            pass

        monkeypatch.setattr(block.attn.proj, "__class__", Adapted)
        assert not block.can_fuse(tokens)


def test_kernels_are_unused_on_a_cpu_and_where_they_fail(monkeypatch):
    assert not has_kernels(CPU)

    def fail(device):
        raise RuntimeError("Failed to find C compiler.\nSet CC.")

    monkeypatch.setattr("models.passt.fused._try_kernels", fail)
    has_kernels.cache_clear()
    with pytest.warns(UserWarning, match=r"do not run on cuda.*: Failed to find C compiler\.$"):
        assert not has_kernels(torch.device("cuda"))
    assert not has_kernels(torch.device("cuda"))  # warns only once
    has_kernels.cache_clear()


class LaunchRecorder(TorchDispatchMode):
    """A recorder of operators that would launch a kernel, with the output's shape and bytes."""

    def __init__(self):
        super().__init__()
        self.launches = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        name = func.overloadpacket.__name__
        if isinstance(first, torch.Tensor) and first.is_cuda and not is_view(func):
            self.launches.append((name, tuple(first.shape), first.nbytes))
        return out


def is_view(func):
    returns = func._schema.returns
    is_alias = returns and returns[0].alias_info and not returns[0].alias_info.is_write
    return bool(is_alias) or func.overloadpacket.__name__ in (
        "empty",
        "new_empty",
        "empty_like",
        "detach",
        "_unsafe_view",
    )


@pytest.fixture
def kernel_counts(monkeypatch):
    """Stand-ins for our kernels that count launches and bytes, and a fake GPU to run them on."""
    monkeypatch.setitem(sys.modules, "models.passt.kernels", counted_kernels)
    monkeypatch.setattr("models.passt.fused.has_kernels", lambda device: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    # Page-locked memory needs a driver.
    monkeypatch.setattr(
        "models.passt.pack_layout.small_tensor",
        lambda values, dtype, device: torch.tensor(values, dtype=dtype, device=device),
    )
    # Without a device torch cannot choose the attention kernel.
    flash = torch.ops.aten._scaled_dot_product_flash_attention
    monkeypatch.setattr(
        models.passt.attention.F, "scaled_dot_product_attention", lambda *heads: flash(*heads)[0]
    )
    return counted_kernels


def record_launches(lengths):
    """Return the launches of torch's operators for a pack of windows on a GPU."""
    # In inference mode some operators would not be decomposed before they are recorded.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        device = torch.device("cuda:0")
        with torch.device(device):
            net = PaSST(FULL).requires_grad_(False)
            mel = front_end(FULL)
        modules = [*net.blocks.modules(), *net.patch_embed.modules(), net]
        for module in modules:  # like `convert`, which does not work on fake tensors
            for name, parameter in list(module._parameters.items()):
                module._parameters[name] = nn.Parameter(parameter.to(torch.bfloat16), False)
        pack = WindowPack(lengths, FULL, device)
        samples = torch.empty(sum(lengths), device=device)
        staged = StagedWindows(samples, torch.empty(len(lengths), dtype=torch.int32, device=device))
        _ = pack.frame_slots  # cached by the warm-up runs before a capture
        counted_kernels.n_launches()
        with LaunchRecorder() as recorder:
            embed_staged(staged, pack, net, mel)
    return recorder.launches


def test_full_windows_need_few_launches(kernel_counts):
    launches = record_launches([320_000] * 8)
    names = Counter(name for name, *_ in launches)
    assert len(launches) + kernel_counts.n_launches() <= 110, names
    # These operators would wait for the device.
    assert not {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"} & set(names)


def test_kernels_write_fewer_bytes_than_torch_operators(kernel_counts, monkeypatch):
    def count_bytes():
        launches = record_launches([320_000] * 8)
        return kernel_counts.n_bytes() + sum(n_bytes for *_, n_bytes in launches)

    fused = count_bytes()
    monkeypatch.setattr("models.passt.fused.has_kernels", lambda device: False)
    assert fused < 0.85 * count_bytes()


def test_residuals_are_added_within_matrix_products(kernel_counts):
    for lengths in ([320_000] * 8, [320_000, 200_000, 5_120]):
        pack = WindowPack(lengths, FULL, CPU)
        launches = record_launches(lengths)
        names = [name for name, shape, _ in launches if shape == (pack.n_tokens, 768)]
        assert "add" not in names
        assert "addmm_" in names


@pytest.mark.parametrize("is_allowed", [False, True])
def test_cudnn_attention_is_used_only_where_plans_are_allowed(monkeypatch, is_allowed):
    is_enabled = []
    monkeypatch.setattr(
        models.passt.attention.F,
        "scaled_dot_product_attention",
        lambda query, *_: is_enabled.append(torch.backends.cuda.cudnn_sdp_enabled()) or query,
    )
    with (
        FakeTensorMode(),
        models.passt.attention.allow_cudnn_plans() if is_allowed else torch.no_grad(),
    ):
        qkv = torch.empty(20, 3 * 768, device="cuda", dtype=torch.bfloat16)
        models.passt.attention.attend(
            qkv, models.passt.attention.Sequences((models.passt.attention.Group(2, 10),)), 12, 0
        )
    assert is_enabled == [is_allowed]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_packs_of_many_lengths_use_few_fft_sizes(kernel_counts):
    sizes = {
        shape
        for n in range(100_000, 120_000, 4_000)
        for name, shape, _ in record_launches([n + 40_000, n])
        if name == "_fft_r2c"
    }
    assert len(sizes) <= 2
    assert all(rows % 256 == 0 for rows, _ in sizes)
