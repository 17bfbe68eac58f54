"""Tests of `PasstWrapper`: refused input, training states, modes, scene windows and streams."""

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
    """A function that builds a model with one block and stride 16 from shared weights."""

    def build(patchout: Patchout | None = None, **options) -> PasstWrapper:
        net = PaSST.from_state_dict(small_spec, small_state_dict, patchout)
        return PasstWrapper(front_end(small_spec), net, **options)

    return build


@pytest.fixture(scope="module")
def waves(noise):
    return torch.stack([torch.from_numpy(noise(16_000, seed)) for seed in range(2)])


def training_states(model):
    return {name: module.training for name, module in model.named_modules()}


def embed_scenes_and_timestamps(model, waves):
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
def test_invalid_audio_is_refused_by_every_call(call, audio, message, build):
    with pytest.raises(WindowError, match=re.escape(message)):
        call(build(), audio)


def test_another_sample_rate_is_refused(build, waves):
    model, message = build(), r"at 32000 Hz \(got 16000\)"
    with pytest.raises(WindowError, match=message):
        model.get_scene_embeddings(waves, 16_000)
    with pytest.raises(WindowError, match=message):
        model.get_timestamp_embeddings(waves, sample_rate=16_000)
    with pytest.raises(WindowError, match=message):
        list(model.iter_timestamp_embeddings([waves], sample_rate=16_000))
    assert model.get_scene_embeddings(waves, 32_000).shape == (2, 1295)


def test_short_clips_are_refused(build):
    model = build()
    for call in (model, model.get_scene_embeddings):
        with pytest.raises(WindowError, match=r"4800 samples are too short .* 4801 .*pad the clip"):
            call(torch.zeros(1, 4800))
    # Half of 160 ms is reflected, which needs at least one sample more than that.
    with pytest.raises(
        WindowError, match=r"2560 samples is too short .* at least 2561 samples; pad"
    ):
        model.get_timestamp_embeddings(torch.zeros(1, 2560))


def test_long_clips_are_refused_by_forward_and_cut_into_scene_windows(build):
    model = build()
    # 62 positions x stride 16 + 15 frames, of 320 samples each
    with pytest.raises(WindowError, match=r"322241 samples \(10\.07 s\) are too long .* 322240"):
        model(torch.zeros(1, 322_241))
    assert model.get_scene_embeddings(torch.zeros(1, 322_241)).shape == (1, 1295)


def test_a_model_window_too_long_for_the_arch_is_refused(build):
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
def test_invalid_options_are_refused(options, message, build):
    with pytest.raises(ModelError, match=message):
        build(**options)


def test_an_invalid_mode_is_refused_when_it_is_set(build, waves):
    model = build()
    with pytest.raises(ModelError, match=r"all, embed_only, logits \(got 'embed'\)"):
        model.mode = "embed"
    assert model.mode == "all"
    model.mode = "embed_only"
    assert model.get_scene_embeddings(waves).shape == (2, 768)
    with pytest.raises(ModelError, match="got 'base3level'"):
        model.get_timestamp_embeddings(waves, "base3level")


@pytest.mark.parametrize("value", [torch.nn.Identity(), None, torch.nn.Linear(2, 2)])
@pytest.mark.parametrize(("name", "part_class"), [("net", "PaSST"), ("mel", "AugmentMelSTFT")])
def test_parts_of_another_class_are_refused(name, part_class, value, build):
    model = build()
    with pytest.raises(
        ModelError, match=rf"{name} must be a {part_class} \(got {type(value).__name__}"
    ):
        setattr(model, name, value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timestamps", TIMESTAMP_KINDS)
def test_the_outputs_of_a_mode_are_columns_of_mode_all(mode, timestamps, build, waves):
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
def test_embeddings_are_computed_in_evaluation_mode(was_training, build, waves):
    expected = embed_scenes_and_timestamps(build(), waves)
    model = build(Patchout(2, 1, 1)).train(was_training)
    before = training_states(model)
    for ours, theirs in zip(embed_scenes_and_timestamps(model, waves), expected, strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    assert training_states(model) == before


@pytest.mark.parametrize("part", ["mel", "net", "net.blocks"])
def test_the_training_state_of_every_part_is_restored(part, build, waves):
    """Fine-tuning may train the net with the front end in evaluation mode."""
    model = build().train()
    model.get_submodule(part).eval()
    before = training_states(model)
    embed_scenes_and_timestamps(model, waves)
    assert training_states(model) == before


def test_training_states_are_restored_after_an_error(build, monkeypatch):
    model = build().train()
    monkeypatch.setattr(model.net, "forward_frames", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.get_scene_embeddings(torch.zeros(1, 9600))
    assert all(training_states(model).values())


def test_training_states_are_restored_between_blocks_of_a_stream(build, waves):
    model = build().train()
    for _ in model.iter_timestamp_embeddings([waves]):
        assert all(training_states(model).values())
        assert torch.is_grad_enabled()


def test_training_applies_masks_and_patchout(build, waves):
    model = build(Patchout(unstructured=2)).train()
    torch.manual_seed(0)
    first, second = model(waves), model(waves)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(waves), model(waves))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_every_trainable_parameter(mode, build, waves):
    model = build(Patchout(unstructured=2), mode=mode).train()
    model(waves).square().mean().backward()
    trainable = {name for name, each in model.named_parameters() if each.requires_grad}
    reached = {name for name, each in model.named_parameters() if each.grad is not None}
    # The features do not depend on the head.
    head = {name for name in trainable if name.startswith("net.head.")}
    assert reached == (trainable - head if mode == "embed_only" else trainable)
    zero_gradients = {
        name
        for name, each in model.named_parameters()
        if each.grad is not None and not each.grad.any()
    }
    assert zero_gradients == set()
    frozen = {name for name, _ in model.named_parameters()} - trainable
    assert frozen == {"net.head_dist.weight", "net.head_dist.bias"}


def test_outputs_without_gradients_are_the_same(build, waves):
    """Without gradients the last block computes only two tokens."""
    model = build()
    with torch.no_grad():
        expected = model(waves)
    torch.testing.assert_close(model(waves), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_training", [True, False])
def test_replaced_parts_take_over_the_training_state(is_training, build, small_spec):
    model = build().train(is_training)
    model.net = build().net.train(not is_training)
    model.mel = front_end(small_spec).train(not is_training)
    assert set(training_states(model).values()) == {is_training}


def test_parts_in_training_are_switched_to_evaluation(build, small_spec):
    model = PasstWrapper(front_end(small_spec).train(), build().net.train())
    assert set(training_states(model).values()) == {False}


def test_embedding_sizes_follow_a_replaced_net(build):
    model = build(timestamps="base2level")
    spec = ARCHS["fsd50k-n"]
    with torch.device("meta"):
        net = PaSST(spec)
    net.to_empty(device="cpu")
    model.net = net
    assert model.scene_embedding_size == 200 + 768
    assert model.timestamp_embedding_size == 2 * 968


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_cast_applies_to_the_net_and_outputs_stay_float32(dtype, build, waves):
    expected = build()
    # The cast changes parameters in place, so this model does not share its weights.
    model = PasstWrapper(
        front_end(expected.net.spec),
        PaSST.from_state_dict(expected.net.spec, random_state_dict(expected.net.spec, 0)),
    ).to(dtype)
    assert {each.dtype for each in model.mel.buffers()} == {torch.float32}
    for ours, theirs in zip(
        embed_scenes_and_timestamps(model, waves),
        embed_scenes_and_timestamps(expected, waves),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0)


def test_autocast_applies_to_the_net_and_outputs_stay_float32(build, waves):
    model = build()
    expected = embed_scenes_and_timestamps(model, waves)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = embed_scenes_and_timestamps(model, waves)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0)


def test_half_precision_audio_is_accepted(build, waves):
    halved = waves.half()
    expected = embed_scenes_and_timestamps(build(), halved.float())
    for ours, theirs in zip(embed_scenes_and_timestamps(build(), halved), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_no_clips_give_no_embeddings(build):
    model = build()
    assert model.get_scene_embeddings([]).shape == (0, 1295)
    assert model.get_scene_embeddings(torch.zeros(0, 9600)).shape == (0, 1295)
    embeddings, timestamps_ms = model.get_timestamp_embeddings(torch.zeros(0, 9600))
    assert embeddings.shape == (0, 0, 1295)
    assert timestamps_ms.shape == (0, 0)


def test_a_scene_embedding_is_the_mean_over_its_windows(build, noise):
    model = build(max_model_window=500, scene_hop=200)
    wave = torch.from_numpy(noise(40_000))[None]
    # Half a window is reflected at each end: 40000 + 16000 samples, windows of 16000 every 6400.
    padded = torch.nn.functional.pad(wave, (8000, 8000), mode="reflect")[0]
    windows = torch.stack([padded[start : start + 16_000] for start in range(0, 40_001, 6400)])
    assert len(windows) == 7
    with torch.no_grad():
        expected = model(windows).mean(dim=0)
    torch.testing.assert_close(model.get_scene_embeddings(wave)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("timestamps", TIMESTAMP_KINDS)
def test_a_stream_of_one_piece_equals_the_whole_clip(timestamps, build, waves):
    model = build(timestamps=timestamps)
    expected, expected_ms = model.get_timestamp_embeddings(waves)
    blocks = list(model.iter_timestamp_embeddings([waves]))
    torch.testing.assert_close(
        torch.cat([each for each, _ in blocks], dim=1), expected, atol=1e-5, rtol=0
    )
    timestamps_ms = torch.cat([each for _, each in blocks])
    assert timestamps_ms.dtype == torch.float64
    assert torch.equal(timestamps_ms.float(), expected_ms[1])


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(TIMESTAMP_KINDS),
    st.sampled_from([50, 300]),
    st.integers(16_000, 110_000),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
)
def test_a_stream_of_any_pieces_equals_the_whole_clip(
    build, noise, timestamps, hop_ms, n_samples, sizes
):
    model = build(timestamps=timestamps, timestamp_hop=hop_ms)
    audio = torch.from_numpy(noise(n_samples))[None]
    ends = torch.tensor(sizes).cumsum(0)
    pieces = audio.tensor_split(ends[ends < n_samples], dim=1)
    expected, expected_ms = model.get_timestamp_embeddings(audio)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.hear.wrapper.STREAM_BLOCK_S", 1)
        blocks = list(model.iter_timestamp_embeddings(pieces))
    # One second per block has 1000 // 50 = 20 timestamps, or 1000 // 300 = 3.
    assert max(each.shape[1] for each, _ in blocks) <= 1000 // hop_ms
    together = torch.cat([each for each, _ in blocks], dim=1)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)
    assert torch.equal(torch.cat([each for _, each in blocks]).float(), expected_ms[0])


def test_a_stream_yields_blocks_before_its_end(build):
    """Hours of audio would not fit into memory, so a block is yielded after each minute."""
    model, n_read = build(timestamp_hop=1000), 0

    def pieces():
        nonlocal n_read
        for _ in range(19):
            n_read += 1
            yield torch.zeros(1, 10 * 32_000)

    n_read_at_blocks = []
    for block, timestamps_ms in model.iter_timestamp_embeddings(pieces()):
        assert block.shape[1] == len(timestamps_ms) <= 60
        n_read_at_blocks.append(n_read)
    # 60 s and the samples to reflect end in the seventh piece of 10 s, 120 s in the thirteenth.
    assert n_read_at_blocks[:2] == [7, 13]
    assert timestamps_ms[-1] == 190_000


def test_invalid_audio_late_in_a_stream_is_refused(build, waves):
    stream = build().iter_timestamp_embeddings([waves, torch.full((2, 9600), torch.nan)])
    with pytest.raises(WindowError, match="NaN or infinite"):
        list(stream)
