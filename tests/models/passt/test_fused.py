"""A net and a front end on kernels of their own, against the same by torch's operators.

The kernels run in Triton's interpreter on a CPU. What only a GPU does, launches and bytes, is
counted on fake tensors of one.
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
def interpreted():
    """Have nets on a CPU take the kernels, which Triton interprets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.passt.fused.has_kernels", lambda device: True)
        yield


@pytest.fixture(scope="module")
def net():
    net = PaSST.from_state_dict(SPEC, random_state_dict(SPEC, 0)).requires_grad_(False)
    for block in net.blocks:
        # Biases of a fresh net are zero, so that one left out would not be missed.
        for linear in (block.attn.proj, block.mlp.fc2):
            nn.init.normal_(linear.bias)
    return net


def test_a_fused_net_is_the_plain_one(net, noise):
    mel = front_end(SPEC)
    staged = stage([torch.from_numpy(noise(n, n)) for n in LENGTHS], CPU)
    pack = WindowPack(LENGTHS, SPEC, CPU)
    with torch.inference_mode():
        expected = embed_staged(staged, pack, net, mel)
        with interpreted():
            found = embed_staged(staged, pack, net, mel)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_fused_front_end_is_the_plain_one(noise):
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
        with interpreted():
            assert mel.can_fuse(staged.samples)
        found = mel.fused_frames(*staged, pack.frame_slots)
    for begin in pack.patch_frames.tolist():
        ours, theirs = found[begin : begin + 16], expected[begin : begin + 16]
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_all_tokens_of_a_fused_net_are_those_of_the_plain_one(net):
    spectrogram = torch.randn(2, 128, 30)
    with torch.inference_mode():
        expected = net.encode(spectrogram), *net(spectrogram)
        with interpreted():
            found = net.encode(spectrogram), *net(spectrogram)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_gradients_and_what_users_have_put_in_take_the_plain_way(net, monkeypatch):
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


def test_a_cpu_and_a_device_whose_kernels_fail_take_torchs_operators(monkeypatch):
    assert not has_kernels(CPU)

    def fail(device):
        raise RuntimeError("Failed to find C compiler.\nSet CC.")

    monkeypatch.setattr("models.passt.fused._try_kernels", fail)
    has_kernels.cache_clear()
    with pytest.warns(UserWarning, match=r"do not run on cuda.*: Failed to find C compiler\.$"):
        assert not has_kernels(torch.device("cuda"))
    assert not has_kernels(torch.device("cuda"))  # and says so once
    has_kernels.cache_clear()


class Launches(TorchDispatchMode):
    """Notes the operators that would launch something, with shape and bytes of what they write."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        name = func.overloadpacket.__name__
        if isinstance(first, torch.Tensor) and first.is_cuda and not is_view(func):
            self.seen.append((name, tuple(first.shape), first.nbytes))
        return out


def is_view(func):
    returned = func._schema.returns
    is_alias = returned and returned[0].alias_info and not returned[0].alias_info.is_write
    return bool(is_alias) or func.overloadpacket.__name__ in (
        "empty",
        "new_empty",
        "empty_like",
        "detach",
        "_unsafe_view",
    )


@pytest.fixture
def counted(monkeypatch):
    """Has kernels of ours be counted, where no device is that they could run on."""
    monkeypatch.setitem(sys.modules, "models.passt.kernels", counted_kernels)
    monkeypatch.setattr("models.passt.fused.has_kernels", lambda device: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    # Page-locked memory takes a driver.
    monkeypatch.setattr(
        "models.passt.pack_layout.small_tensor",
        lambda values, dtype, device: torch.tensor(values, dtype=dtype, device=device),
    )
    # torch asks the device which kernel it has.
    flash = torch.ops.aten._scaled_dot_product_flash_attention
    monkeypatch.setattr(
        models.passt.attention.F, "scaled_dot_product_attention", lambda *heads: flash(*heads)[0]
    )
    return counted_kernels


def launches_of(lengths):
    """The launches of a pack of windows on a GPU, kernels of ours among them."""
    # In inference mode some operators would not be seen as those that they are made of.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        device = torch.device("cuda:0")
        with torch.device(device):
            net = PaSST(FULL).requires_grad_(False)
            mel = front_end(FULL)
        in_half = [*net.blocks.modules(), *net.patch_embed.modules(), net]
        for module in in_half:  # as `convert` does, which fake tensors refuse
            for name, parameter in list(module._parameters.items()):
                module._parameters[name] = nn.Parameter(parameter.to(torch.bfloat16), False)
        pack = WindowPack(lengths, FULL, device)
        samples = torch.empty(sum(lengths), device=device)
        staged = StagedWindows(samples, torch.empty(len(lengths), dtype=torch.int32, device=device))
        _ = pack.frame_slots  # a recorded forward has rehearsed
        counted_kernels.n_launches()
        with Launches() as launches:
            embed_staged(staged, pack, net, mel)
    return launches.seen


def test_a_batch_of_full_windows_takes_few_launches(counted):
    seen = launches_of([320_000] * 8)
    names = Counter(name for name, *_ in seen)
    assert len(seen) + counted.n_launches() <= 110, names
    assert not {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"} & set(names)  # would wait


def test_a_batch_writes_less_than_by_torchs_operators(counted, monkeypatch):
    def written():
        own = counted.n_bytes()
        return own + sum(n_bytes for *_, n_bytes in seen)

    seen = launches_of([320_000] * 8)
    fused = written()
    monkeypatch.setattr("models.passt.fused.has_kernels", lambda device: False)
    seen = launches_of([320_000] * 8)
    assert fused < 0.85 * written()


def test_no_residual_is_added_by_itself(counted):
    for lengths in ([320_000] * 8, [320_000, 200_000, 5_120]):
        pack = WindowPack(lengths, FULL, CPU)
        adding = [name for name, shape, _ in launches_of(lengths) if shape == (pack.n_tokens, 768)]
        assert "add" not in adding
        assert "addmm_" in adding


@pytest.mark.parametrize("is_fixed", [False, True])
def test_plans_are_made_for_fixed_shapes_only(monkeypatch, is_fixed):
    may_plan = []
    monkeypatch.setattr(
        models.passt.attention.F,
        "scaled_dot_product_attention",
        lambda query, *_: may_plan.append(torch.backends.cuda.cudnn_sdp_enabled()) or query,
    )
    with (
        FakeTensorMode(),
        models.passt.attention.allow_cudnn_plans() if is_fixed else torch.no_grad(),
    ):
        qkv = torch.empty(20, 3 * 768, device="cuda", dtype=torch.bfloat16)
        models.passt.attention.attend(
            qkv, models.passt.attention.Sequences((models.passt.attention.Group(2, 10),)), 12, 0
        )
    assert may_plan == [is_fixed]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_packs_of_many_lengths_share_a_plan_of_the_fourier_transform(counted):
    sizes = {
        shape
        for n in range(100_000, 120_000, 4_000)
        for name, shape, _ in launches_of([n + 40_000, n])
        if name == "_fft_r2c"
    }
    assert len(sizes) <= 2
    assert all(rows % 256 == 0 for rows, _ in sizes)
