"""Tests of nets and models built by arch name, with the reference's argument names."""

import inspect
from dataclasses import replace

import pytest
import torch

from models.archs import ALIASES, ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import load_weights
from models.errors import ModelError, UnknownArchError
from models.hear.factory import front_end, get_basic_model, get_model_passt
from models.hear.wrapper import MODES
from models.passt.preprocess import check_front_end


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    """Archs with one block; `tests/parity` tests all blocks."""
    for name, spec in ARCHS.items():
        monkeypatch.setitem(ARCHS, name, replace(spec, depth=1))


def load(arch=DEFAULT_ARCH, **options):
    return get_model_passt(arch, weights="random:0", **options)


def test_arguments_are_those_of_the_reference(quietly):
    reference = quietly(__import__, "hear21passt.models.passt", fromlist=["get_model"])
    theirs = inspect.signature(reference.get_model).parameters
    ours = inspect.signature(get_model_passt).parameters
    assert list(ours) == [*theirs, "weights"]
    # The other defaults depend on the arch here.
    same = ("arch", "pretrained", "in_channels", "input_fdim", "u_patchout", "s_patchout_t")
    assert [ours[name].default for name in same] == [theirs[name].default for name in same]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fstride": 16, "tstride": 16},
        {"input_tdim": 998, "input_fdim": 128, "in_channels": 1},
        {"n_classes": 200},
    ],
)
def test_an_argument_may_repeat_the_value_of_the_arch(options):
    assert load("fsd50k-n", **options).spec == ARCHS["fsd50k-n"]


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        (DEFAULT_ARCH, {"fstride": 16}, "fstride must be 10 for arch '{}' (got 16)"),
        (DEFAULT_ARCH, {"tstride": 12}, "tstride must be 10 for arch '{}' (got 12)"),
        (DEFAULT_ARCH, {"input_tdim": 2000}, "input_tdim must be 998 for arch '{}' (got 2000)"),
        (DEFAULT_ARCH, {"input_fdim": 64}, "input_fdim must be 128 for arch '{}' (got 64)"),
        (DEFAULT_ARCH, {"in_channels": 2}, "in_channels must be 1 for arch '{}' (got 2)"),
        ("passt_30sec", {"input_tdim": 998}, "input_tdim must be 3000 for arch '{}' (got 998)"),
        ("fsd50k-n", {"fstride": 10}, "fstride must be 16 for arch '{}' (got 10)"),
        (DEFAULT_ARCH, {"n_classes": 0}, "n_classes must be at least 1 (got 0)"),
        (DEFAULT_ARCH, {"s_patchout_t": 99}, "s_patchout_t must be 0 to 98 (got 99)"),
        (DEFAULT_ARCH, {"u_patchout": -1}, "u_patchout must be 0 to 1187 (got -1)"),
    ],
)
def test_a_value_that_contradicts_the_arch_is_refused(arch, options, message):
    for pretrained in (True, False):
        with pytest.raises(ModelError) as error:
            load(arch, pretrained=pretrained, **options)
        assert str(error.value) == message.format(arch)


def test_an_unknown_arch_is_refused():
    with pytest.raises(UnknownArchError, match=r"'passt_xl'; the archs are: passt_s_swa"):
        get_model_passt("passt_xl")
    with pytest.raises(UnknownArchError, match="'passt_xl'"):
        get_basic_model(arch="passt_xl")


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_builds_its_arch(alias):
    assert get_model_passt(alias, pretrained=False).spec == ARCHS[ALIASES[alias]]


@pytest.mark.parametrize("pretrained", [True, False])
def test_loaders_return_models_in_evaluation_mode(pretrained):
    for model in (
        get_model_passt(DEFAULT_ARCH, pretrained, weights="random:0"),
        get_basic_model(pretrained=pretrained, weights="random:0"),
    ):
        assert not any(module.training for module in model.modules())


def test_parameters_equal_the_loaded_weights():
    weights = load_weights("random:0", ARCHS["openmic"]).state_dict
    state_dict = load("openmic").state_dict()
    assert state_dict.keys() == weights.keys()
    assert all(torch.equal(state_dict[key], weights[key]) for key in weights)


def test_another_number_of_classes_replaces_only_the_head():
    net = load(n_classes=7)
    pretrained, ours = load().state_dict(), net.state_dict()
    changed = {key for key in ours if not torch.equal(ours[key], pretrained[key])}
    # The norm before the linear layer depends on the features, not on the classes, and stays.
    assert changed == {
        *("head.1.weight", "head.1.bias"),
        *("head_dist.weight", "head_dist.bias"),
    }
    assert ours["head.1.weight"].shape == (7, 768)
    assert ours["head.1.weight"].std() == pytest.approx(0.02, rel=0.1)
    assert not ours["head.1.bias"].any()
    assert net.spec.n_classes == 7
    logits, features = net(torch.zeros(1, 128, 16))
    assert (logits.shape, features.shape) == ((1, 7), (1, 768))


def test_fine_tuning_methods_agree_with_the_reference(reference_net):
    net, reference = load(), reference_net(ARCHS[DEFAULT_ARCH])
    assert net.no_weight_decay() == reference.no_weight_decay()
    assert set(net.no_weight_decay()) <= {name for name, _ in net.named_parameters()}
    assert net.get_classifier() == (net.head, net.head_dist)
    net.reset_classifier(5)
    assert [layer.out_features for layer in (net.head[1], net.head_dist)] == [5, 5]
    assert net(torch.zeros(1, 128, 16))[0].shape == (1, 5)
    with pytest.raises(ModelError, match=r"n_classes must be at least 1 \(got 0\)"):
        net.reset_classifier(0)


def test_timm_optimizers_apply_no_weight_decay_to_tokens_positions_and_norms():
    optim = pytest.importorskip("timm.optim")
    net = load()
    optimizer = optim.create_optimizer_v2(net, opt="adamw", lr=1e-5, weight_decay=1e-4)
    decayed = {
        id(parameter)
        for group in optimizer.param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    names = {name for name, parameter in net.named_parameters() if id(parameter) in decayed}
    assert {"patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "head.1.weight"} <= names
    excluded = net.no_weight_decay() | {"norm.weight", "blocks.0.norm1.weight", "head.1.bias"}
    assert not names & excluded


def test_without_pretrained_weights_parameters_are_random():
    torch.manual_seed(0)
    first, second = (get_model_passt(pretrained=False) for _ in range(2))
    for name, parameter in first.named_parameters():
        assert torch.isfinite(parameter).all()
        # Norms start at one and biases at zero; the convolution's bias keeps torch's default.
        is_random = parameter.ndim > 1 or name == "patch_embed.proj.bias"
        assert torch.equal(parameter, second.get_parameter(name)) != is_random, name
    for name in ("cls_token", "time_new_pos_embed", "blocks.0.mlp.fc1.weight"):
        assert first.get_parameter(name).std().item() == pytest.approx(0.02, rel=0.1)


def test_patchout_reaches_the_net():
    net = load(u_patchout=3, s_patchout_t=2, s_patchout_f=1).train()
    # 100 frames have (100 - 16) // 10 + 1 = 9 columns
    assert net.tokens(torch.zeros(1, 128, 100)).shape[1] == 2 + 11 * 7 - 3


@pytest.mark.parametrize("name", ARCHS)
def test_the_front_end_matches_the_arch(name):
    mel = front_end(ARCHS[name])
    check_front_end(mel, ARCHS[name])
    assert mel.hopsize == ARCHS[name].hop_samples


@pytest.mark.parametrize(
    ("arch", "window_s", "scene_hop_s"),
    [(DEFAULT_ARCH, 10, 2.5), ("passt_20sec", 20, 5), ("passt_30sec", 30, 10)],
)
def test_windows_default_to_those_of_the_arch(arch, window_s, scene_hop_s):
    model = get_basic_model(arch=arch, pretrained=False)
    assert model.max_model_window == window_s * 32_000
    assert model.scene_hop == scene_hop_s * 32_000
    other = get_basic_model(arch=arch, pretrained=False, scene_hop=1000, max_model_window=5000)
    assert (other.max_model_window, other.scene_hop) == (160_000, 32_000)


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_reaches_the_model(mode):
    assert get_basic_model(mode, pretrained=False).mode == mode


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mode": "both"}, "mode must be one of"), ({"timestamps": "no"}, "timestamps must be one")],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        get_basic_model(pretrained=False, **options)
