"""Waves in, embeddings out: what is refused, what a caller's forgetting cannot change, streams."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archs import ARCHS
from models.checkpoints.state_dict import random_state_dict
from models.errors import FrontEndError, ModelError, WindowError
from models.hear.factory import front_end
from models.hear.wrapper import MODES, PasstWrapper
from models.inference.timestamp_levels import TIMESTAMP_KINDS
from models.passt.patchout import Patchout
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST


@pytest.fixture(scope="module")
def build(small_spec, small_state_dict):
    """Builds a model of one block and stride 16; the weights are shared."""

    def build(patchout: Patchout | None = None, **options) -> PasstWrapper:
        net = PaSST.from_state_dict(small_spec, small_state_dict, patchout)
        return PasstWrapper(front_end(small_spec), net, **options)

    return build


@pytest.fixture(scope="module")
def waves(noise):
    return torch.stack([torch.from_numpy(noise(16_000, seed)) for seed in range(2)])


def states(model):
    return {name: module.training for name, module in model.named_modules()}


def embeddings(model, waves):
    return [model.get_scene_embeddings(waves), *model.get_timestamp_embeddings(waves)]


CALLS = {
    "forward": lambda model, audio: model(audio),
    "scenes": lambda model, audio: model.get_scene_embeddings(audio),
    "timestamps": lambda model, audio: model.get_timestamp_embeddings(audio),
    "stream": lambda model, audio: list(model.iter_timestamp_embeddings([audio])),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@EVERY_CALL
@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(9600), "of shape (n_sounds, n_samples) (got (9600,))"),
        (torch.zeros(1, 9600, dtype=torch.int16), "floating point in [-1, 1] (got torch.int16)"),
        (torch.full((1, 9600), torch.nan), "NaN or infinite at [0, 0]"),
        (torch.full((1, 9600), torch.inf), "NaN or infinite at [0, 0]"),
    ],
    ids=["rank", "integers", "nan", "infinity"],
)
def test_wrong_audio_is_refused_by_every_call(call, audio, message, build):
    with pytest.raises(WindowError, match=re.escape(message)):
        call(build(), audio)


def test_another_rate_is_refused(build, waves):
    model, message = build(), r"at 32000 Hz \(got 16000\)"
    with pytest.raises(WindowError, match=message):
        model.get_scene_embeddings(waves, 16_000)
    with pytest.raises(WindowError, match=message):
        model.get_timestamp_embeddings(waves, sample_rate=16_000)
    with pytest.raises(WindowError, match=message):
        list(model.iter_timestamp_embeddings([waves], sample_rate=16_000))
    assert model.get_scene_embeddings(waves, 32_000).shape == (2, 1295)


def test_too_short_is_refused(build):
    model = build()
    for call in (model, model.get_scene_embeddings):
        with pytest.raises(WindowError, match=r"4800 samples are too short .* 4801 .*pad the clip"):
            call(torch.zeros(1, 4800))
    # Half of 160 ms is reflected, which takes a sample more than that.
    with pytest.raises(WindowError, match=r"2560 samples is too short .* at least 2561 samples; pad"):
        model.get_timestamp_embeddings(torch.zeros(1, 2560))


def test_too_long_is_refused_by_forward_and_cut_for_scenes(build):
    model = build()
    # 62 positions x stride 16 + 15 frames, of 320 samples each
    with pytest.raises(WindowError, match=r"322241 samples \(10\.07 s\) are too long .* 322240"):
        model(torch.zeros(1, 322_241))
    assert model.get_scene_embeddings(torch.zeros(1, 322_241)).shape == (1, 1295)


def test_a_model_window_that_the_arch_cannot_take_is_refused(build):
    model = build(max_model_window=20_000)
    with pytest.raises(WindowError, match=r"640000 samples \(20\.00 s\) are too long"):
        model.get_scene_embeddings(torch.zeros(1, 640_001))


@EVERY_CALL
def test_the_front_end_of_another_arch_is_refused_before_any_forward(call, build, waves):
    model = build()
    model.mel = AugmentMelSTFT(hopsize=160)
    message = "front end does not match arch '{}': hopsize=160 instead of 320; set model.mel"
    with pytest.raises(FrontEndError, match=message.format(model.net.spec.name)):
        call(model, waves)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "embed"}, r"mode must be one of all, embed_only, logits \(got 'embed'\)"),
        ({"timestamps": "base2"}, r"timestamps must be one of base, .* \(got 'base2'\)"),
        ({"scene_hop": 0}, r"scene_hop must be at least one sample, 1/32 ms \(got 0 ms\)"),
        ({"max_model_window": -1}, r"max_model_window must be .* \(got -1 ms\)"),
        ({"timestamp_hop": 0.01}, r"timestamp_hop must be .* \(got 0\.01 ms\)"),
        ({"timestamp_window": 0}, r"timestamp_window must be .* \(got 0 ms\)"),
    ],
)
def test_wrong_options_are_refused(options, message, build):
    with pytest.raises(ModelError, match=message):
        build(**options)


def test_a_wrong_mode_is_refused_later_too(build, waves):
    model = build()
    with pytest.raises(ModelError, match=r"all, embed_only, logits \(got 'embed'\)"):
        model.mode = "embed"
    assert model.mode == "all"
    model.mode = "embed_only"
    assert model.get_scene_embeddings(waves).shape == (2, 768)
    with pytest.raises(ModelError, match="got 'base3level'"):
        model.get_timestamp_embeddings(waves, "base3level")


@pytest.mark.parametrize("value", [torch.nn.Identity(), None, torch.nn.Linear(2, 2)])
@pytest.mark.parametrize(("name", "kind"), [("net", "PaSST"), ("mel", "AugmentMelSTFT")])
def test_another_part_is_refused(name, kind, value, build):
    model = build()
    with pytest.raises(ModelError, match=rf"{name} must be a {kind} \(got {type(value).__name__}"):
        setattr(model, name, value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timestamps", TIMESTAMP_KINDS)
def test_modes_are_columns_of_all(mode, timestamps, build, waves):
    whole, model = build(timestamps=timestamps), build(timestamps=timestamps, mode=mode)
    columns = {"all": slice(None), "embed_only": slice(527, None), "logits": slice(527)}[mode]
    assert torch.equal(
        model.get_scene_embeddings(waves), whole.get_scene_embeddings(waves)[:, columns]
    )
    ours, all_columns = (
        each.get_timestamp_embeddings(waves)[0].split(
            [each.scene_embedding_size] * (1 if timestamps == "base" else 2)
            + ([768] if timestamps == "base2levelmel" else []),
            dim=2,
        )
        for each in (model, whole)
    )
    for ours_level, level in zip(ours, all_columns, strict=True):
        is_passt = level.shape[2] == 1295
        assert torch.equal(ours_level, level[..., columns] if is_passt else level)


@pytest.mark.parametrize("was_training", [True, False])
def test_embeddings_are_those_of_evaluation_whatever_the_state(was_training, build, waves):
    expected = embeddings(build(), waves)
    model = build(Patchout(2, 1, 1)).train(was_training)
    before = states(model)
    for ours, theirs in zip(embeddings(model, waves), expected, strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    assert states(model) == before


@pytest.mark.parametrize("part", ["mel", "net", "net.blocks"])
def test_the_state_of_every_part_is_restored(part, build, waves):
    """As in fine-tuning behind a front end without its masks."""
    model = build().train()
    model.get_submodule(part).eval()
    before = states(model)
    embeddings(model, waves)
    assert states(model) == before


def test_the_state_is_restored_after_an_error(build, monkeypatch):
    model = build().train()
    monkeypatch.setattr(model.net, "forward_frames", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.get_scene_embeddings(torch.zeros(1, 9600))
    assert all(states(model).values())


def test_a_consumer_of_the_stream_sees_the_state_it_set(build, waves):
    model = build().train()
    for _ in model.iter_timestamp_embeddings([waves]):
        assert all(states(model).values())
        assert torch.is_grad_enabled()


def test_training_takes_masks_and_patchout(build, waves):
    model = build(Patchout(unstructured=2)).train()
    torch.manual_seed(0)
    first, second = model(waves), model(waves)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(waves), model(waves))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_every_parameter_that_asks(mode, build, waves):
    model = build(Patchout(unstructured=2), mode=mode).train()
    model(waves).square().mean().backward()
    asking = {name for name, each in model.named_parameters() if each.requires_grad}
    reached = {name for name, each in model.named_parameters() if each.grad is not None}
    # No logits depend on the head where only features come out.
    head = {name for name in asking if name.startswith("net.head.")}
    assert reached == (asking - head if mode == "embed_only" else asking)
    silent = {
        name
        for name, each in model.named_parameters()
        if each.grad is not None and not each.grad.any()
    }
    assert silent == set()
    frozen = {name for name, _ in model.named_parameters()} - asking
    assert frozen == {"net.head_dist.weight", "net.head_dist.bias"}


def test_no_gradients_is_the_same(build, waves):
    """Without them the last block computes two tokens alone."""
    model = build()
    with torch.no_grad():
        expected = model(waves)
    torch.testing.assert_close(model(waves), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_training", [True, False])
def test_parts_that_are_put_in_take_over_the_state(is_training, build, small_spec):
    model = build().train(is_training)
    model.net = build().net.train(not is_training)
    model.mel = front_end(small_spec).train(not is_training)
    assert set(states(model).values()) == {is_training}


def test_a_net_in_training_is_put_into_evaluation(build, small_spec):
    model = PasstWrapper(front_end(small_spec).train(), build().net.train())
    assert set(states(model).values()) == {False}


def test_sizes_follow_the_net(build):
    model = build(timestamps="base2level")
    spec = ARCHS["fsd50k-n"]
    with torch.device("meta"):
        net = PaSST(spec)
    net.to_empty(device="cpu")
    model.net = net
    assert model.scene_embedding_size == 200 + 768
    assert model.timestamp_embedding_size == 2 * 968


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_cast_is_for_the_net_and_float32_comes_out(dtype, build, waves):
    expected = build()
    # A state dict of its own, as the parameters are cast where they are.
    model = PasstWrapper(
        front_end(expected.net.spec),
        PaSST.from_state_dict(expected.net.spec, random_state_dict(expected.net.spec, 0)),
    ).to(dtype)
    assert {each.dtype for each in model.mel.buffers()} == {torch.float32}
    for ours, theirs in zip(embeddings(model, waves), embeddings(expected, waves), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0)


def test_autocast_is_for_the_net_and_float32_comes_out(build, waves):
    model = build()
    expected = embeddings(model, waves)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = embeddings(model, waves)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0)


def test_half_precision_audio_is_taken(build, waves):
    halved = waves.half()
    expected = embeddings(build(), halved.float())
    for ours, theirs in zip(embeddings(build(), halved), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_no_sounds_have_no_embeddings(build):
    model = build()
    assert model.get_scene_embeddings([]).shape == (0, 1295)
    assert model.get_scene_embeddings(torch.zeros(0, 9600)).shape == (0, 1295)
    timestamps, moments_ms = model.get_timestamp_embeddings(torch.zeros(0, 9600))
    assert timestamps.shape == (0, 0, 1295)
    assert moments_ms.shape == (0, 0)


def test_a_scene_is_the_mean_over_its_windows(build, noise):
    model = build(max_model_window=500, scene_hop=200)
    wave = torch.from_numpy(noise(40_000))[None]
    # Half a window is reflected: 40000 + 16000 samples, windows of 16000 every 6400
    padded = torch.nn.functional.pad(wave, (8000, 8000), mode="reflect")[0]
    windows = torch.stack([padded[start : start + 16_000] for start in range(0, 40_001, 6400)])
    assert len(windows) == 7
    with torch.no_grad():
        expected = model(windows).mean(dim=0)
    torch.testing.assert_close(model.get_scene_embeddings(wave)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("timestamps", TIMESTAMP_KINDS)
def test_a_stream_in_one_piece_is_the_whole(timestamps, build, waves):
    model = build(timestamps=timestamps)
    expected, expected_ms = model.get_timestamp_embeddings(waves)
    blocks = list(model.iter_timestamp_embeddings([waves]))
    torch.testing.assert_close(
        torch.cat([each for each, _ in blocks], dim=1), expected, atol=1e-5, rtol=0
    )
    moments_ms = torch.cat([each for _, each in blocks])
    assert moments_ms.dtype == torch.float64
    assert torch.equal(moments_ms.float(), expected_ms[1])


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(TIMESTAMP_KINDS),
    st.sampled_from([50, 300]),
    st.integers(16_000, 110_000),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
)
def test_a_stream_of_any_pieces_is_the_whole(build, noise, timestamps, hop_ms, n_samples, sizes):
    model = build(timestamps=timestamps, timestamp_hop=hop_ms)
    audio = torch.from_numpy(noise(n_samples))[None]
    ends = torch.tensor(sizes).cumsum(0)
    pieces = audio.tensor_split(ends[ends < n_samples], dim=1)
    expected, expected_ms = model.get_timestamp_embeddings(audio)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.hear.wrapper.STREAM_BLOCK_S", 1)
        blocks = list(model.iter_timestamp_embeddings(pieces))
    # A second a block: 1000 // 50 = 20 moments, or 1000 // 300 = 3
    assert max(each.shape[1] for each, _ in blocks) <= 1000 // hop_ms
    together = torch.cat([each for each, _ in blocks], dim=1)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)
    assert torch.equal(torch.cat([each for _, each in blocks]).float(), expected_ms[0])


def test_a_stream_does_not_wait_for_its_end(build):
    """Hours would not fit: blocks of a minute come out while pieces come in."""
    model, taken = build(timestamp_hop=1000), 0

    def pieces():
        nonlocal taken
        for _ in range(19):
            taken += 1
            yield torch.zeros(1, 10 * 32_000)

    seen = []
    for embedded, moments_ms in model.iter_timestamp_embeddings(pieces()):
        assert embedded.shape[1] == len(moments_ms) <= 60
        seen.append(taken)
    # 60 s and the samples to reflect are in the seventh piece of 10 s, 120 s in the thirteenth.
    assert seen[:2] == [7, 13]
    assert moments_ms[-1] == 190_000


def test_audio_that_is_wrong_late_in_a_stream_is_refused(build, waves):
    stream = build().iter_timestamp_embeddings([waves, torch.full((2, 9600), torch.nan)])
    with pytest.raises(WindowError, match="NaN or infinite"):
        list(stream)
