"""Parity of each HEAR module with the module of the same name in hear21passt, on equal weights."""

import importlib
import inspect
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from models.archs import ARCHS
from models.hear.registry import HEAR_MODULES
from models.passt.patchout import Patchout

TOLERANCE = 1e-4
N_CLASSES, N_FEATURES, N_MEL = 527, 768, 6 * 128
RATE_HZ = 32_000


@dataclass(frozen=True)
class Expected:
    """Expected settings of a HEAR module.

    Attributes:
        window: Longest scene window in samples.
        scene_hop: Step between scene windows in samples.
        stft_hop: STFT hop in samples.
        longest: Longest timestamp window in samples.
        n_passt: Number of windows per timestamp that PaSST embeds.
        n_mel: Width of the log-mel frames in a timestamp embedding; 0 if it has none.
        n_classes: Number of logits.
    """

    window: int = 10 * RATE_HZ
    scene_hop: int = 80_000
    stft_hop: int = 320
    longest: int = 5120
    n_passt: int = 1
    n_mel: int = 0
    n_classes: int = N_CLASSES

    @property
    def shortest(self) -> int:
        """Fewest samples for a patch of 16 frames: the first at sample 0, then 15 hops."""
        return 15 * self.stft_hop + 1

    def sizes(self, mode: str) -> tuple[int, int]:
        """Return the widths of a scene embedding and of a timestamp embedding."""
        logits = self.n_classes if mode != "embed_only" else 0
        features = N_FEATURES if mode != "logits" else 0
        return logits + features, self.n_passt * (logits + features) + self.n_mel


LEVEL_5, LEVEL_4 = 5 * 5120, 4 * 5120
MODULES = {
    "base": Expected(),
    "base20sec": Expected(window=20 * RATE_HZ, scene_hop=5 * RATE_HZ),
    "base30sec": Expected(window=30 * RATE_HZ, scene_hop=10 * RATE_HZ),
    "base2level": Expected(longest=LEVEL_5, n_passt=2),
    "base2levelF": Expected(longest=LEVEL_5, n_passt=2),
    "base2levelmel": Expected(longest=LEVEL_4, n_passt=2, n_mel=N_MEL),
    "hop160base": Expected(stft_hop=160),
    "hop160base2lvl": Expected(stft_hop=160, longest=LEVEL_5, n_passt=2),
    "hop160base2lvlmel": Expected(stft_hop=160, longest=LEVEL_5, n_passt=2, n_mel=N_MEL),
    "hop100base": Expected(stft_hop=100),
    "hop100base2lvl": Expected(stft_hop=100, longest=LEVEL_5, n_passt=2),
    "hop100base2lvlmel": Expected(stft_hop=100, longest=LEVEL_5, n_passt=2, n_mel=N_MEL),
    "openmic2008": Expected(n_classes=20),
}
MODES = ("all", "embed_only", "logits")
# One module per combination of window, STFT hop and head; the others share these combinations.
SCENE_MODULES = ("base", "base20sec", "base30sec", "hop160base", "hop100base", "openmic2008")
EVERY_MODULE = pytest.mark.parametrize("name", MODULES)
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def build_shallow_pair(build_pair):
    """A function that builds pairs of models with one block, and caches them."""
    return cache(build_pair)


def assert_same(ours, expected):
    assert ours.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)


def assert_rows_differ(embeddings):
    """Assert that the embeddings of two sounds differ, without which parity would prove nothing."""
    assert (embeddings[0] - embeddings[1]).abs().max() > 100 * TOLERANCE


def assert_same_scenes(pair, audio):
    ours, expected = pair.embed_scenes(audio)
    assert_same(ours, expected)
    if len(audio) > 1:
        assert_rows_differ(expected)
    return ours


def assert_same_timestamps(pair, audio):
    (ours, timestamps_ms), (expected, expected_ms) = pair.embed_timestamps(audio)
    assert_same(ours, expected)
    assert timestamps_ms.dtype == expected_ms.dtype == torch.float32
    assert torch.equal(timestamps_ms, expected_ms)
    # The hop is 1600 samples, 50 ms; half a window is reflected at both ends.
    n_timestamps = audio.shape[1] // 1600 + 1
    assert torch.equal(timestamps_ms[0], 50.0 * torch.arange(n_timestamps))
    assert ours.shape[:2] == timestamps_ms.shape == (len(audio), n_timestamps)
    assert_rows_differ(expected)
    return ours


def test_all_thirteen_modules_are_registered():
    assert HEAR_MODULES.keys() == MODULES.keys()
    assert len(MODULES) == 13


@EVERY_MODULE
def test_a_module_has_the_common_api(name):
    module = importlib.import_module(f"models.hear.{name}")
    assert set(module.__all__) == {
        "get_basic_model",
        "get_model_passt",
        "get_scene_embeddings",
        "get_timestamp_embeddings",
        "load_model",
    }
    load = inspect.signature(module.load_model).parameters
    defaults = {key: each.default for key, each in load.items() if key != "options"}
    assert defaults == {"model_file_path": "", "mode": "all"}
    for function in (module.get_scene_embeddings, module.get_timestamp_embeddings):
        assert list(inspect.signature(function).parameters)[:2] == ["audio", "model"]


@EVERY_MODE
@EVERY_MODULE
def test_embedding_sizes_are_the_widths_of_the_outputs(name, mode, build_pair, build_sounds):
    pair, expected = build_pair(name, mode), MODULES[name]
    model = pair.model
    assert model.sample_rate == RATE_HZ
    assert (model.scene_embedding_size, model.timestamp_embedding_size) == expected.sizes(mode)
    assert {type(model.scene_embedding_size), type(model.timestamp_embedding_size)} == {int}
    assert not model.training
    # The reference's embedding sizes are correct for mode `all` only.
    shared = ["sample_rate", "max_model_window", "scene_hop", "timestamp_window", "timestamp_hop"]
    if mode == "all":
        shared += ["scene_embedding_size", "timestamp_embedding_size"]
    assert {key: getattr(model, key) for key in shared} == {
        key: getattr(pair.reference, key) for key in shared
    }
    assert (model.max_model_window, model.scene_hop) == (expected.window, expected.scene_hop)

    audio = build_sounds(expected.longest // 2 + 3000)
    scenes = assert_same_scenes(pair, audio)
    assert scenes.shape == (2, model.scene_embedding_size)
    timestamps = assert_same_timestamps(pair, audio)
    assert timestamps.shape[2] == model.timestamp_embedding_size


@pytest.mark.parametrize(
    ("name", "mode", "sizes"),
    [
        ("base", "all", (527 + 768, 527 + 768)),
        ("base2levelmel", "all", (1295, 3358)),  # 2 x 1295 + 768
        ("base2levelmel", "embed_only", (768, 2304)),  # 2 x 768 + 768
        ("base2level", "logits", (527, 1054)),
        ("openmic2008", "all", (788, 788)),  # 20 + 768
        ("openmic2008", "logits", (20, 20)),
    ],
)
def test_embedding_sizes_in_numbers(name, mode, sizes):
    assert MODULES[name].sizes(mode) == sizes


@pytest.mark.parametrize("name", SCENE_MODULES)
@pytest.mark.parametrize("over", [0, 1, 1601])
def test_short_scenes_equal_the_reference(name, over, build_shallow_pair, build_sounds):
    expected = MODULES[name]
    assert_same_scenes(build_shallow_pair(name), build_sounds(expected.shortest + over))


@pytest.mark.parametrize("name", SCENE_MODULES)
def test_scenes_with_one_more_frame_equal_the_reference(name, build_shallow_pair, build_sounds):
    expected = MODULES[name]
    assert_same_scenes(
        build_shallow_pair(name), build_sounds(expected.shortest + expected.stft_hop)
    )


@pytest.mark.parametrize(
    "name",
    [
        # Attention over thousands of tokens takes half a minute.
        pytest.param(each, marks=pytest.mark.slow if each in ("base30sec", "hop100base") else ())
        for each in SCENE_MODULES
    ],
)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_scenes_around_the_window_equal_the_reference(name, over, build_shallow_pair, build_sounds):
    # One sound is enough: the windows are slow, and other tests compare two rows.
    assert_same_scenes(build_shallow_pair(name), build_sounds(MODULES[name].window + over, 1))


def test_scenes_of_many_windows_equal_the_reference(build_shallow_pair, build_sounds):
    # About 17.9 s: 17.9 // 2.5 + 1 = 8 windows.
    assert_same_scenes(build_shallow_pair("base"), build_sounds(17 * RATE_HZ + 28_345, 1))


@EVERY_MODULE
@pytest.mark.parametrize(
    "n_samples",
    [
        lambda longest: longest // 2 + 1,  # shortest clip that can be reflected by half a window
        lambda _: 9 * 1600 - 1,
        lambda _: 9 * 1600,
        lambda _: 9 * 1600 + 1,
    ],
    ids=["shortest", "9 hops - 1", "9 hops", "9 hops + 1"],
)
def test_timestamps_equal_the_reference(name, n_samples, build_shallow_pair, build_sounds):
    assert_same_timestamps(build_shallow_pair(name), build_sounds(n_samples(MODULES[name].longest)))


@pytest.mark.slow
def test_timestamps_equal_the_reference_over_a_minute(build_shallow_pair, build_sounds):
    """The clip is longer than a block of the stream, and one sample longer than a whole hop."""
    assert_same_timestamps(build_shallow_pair("base"), build_sounds(61 * RATE_HZ + 1))


@pytest.mark.parametrize("seed", range(2))
def test_training_makes_the_same_random_draws_as_the_reference(
    seed, build_pair, build_sounds, quietly
):
    """Band edges, masks and patchout are drawn in the reference's order."""
    pair, waves = build_pair("base"), build_sounds(48_000)
    pair.model.net.patchout = Patchout(unstructured=20, time=3, frequency=2)
    pair.reference.net.u_patchout = 20
    pair.reference.net.s_patchout_t, pair.reference.net.s_patchout_f = 3, 2
    torch.manual_seed(seed)
    expected = quietly(pair.reference.train(), waves)
    torch.manual_seed(seed)
    assert_same(pair.model.train()(waves).detach(), expected)
    assert not torch.equal(pair.ours.get_scene_embeddings(waves, pair.model), expected)


# Every kind of timestamps and every window length; slow tests run the other archs at full depth.
DEEP = ["base2levelmel", "base20sec", "base30sec"]


@pytest.mark.parametrize("name", [*DEEP, "openmic2008"])
def test_modules_of_full_depth_equal_the_reference(name, build_pair, build_sounds):
    pair = build_pair(name, depth=12)
    audio = build_sounds(MODULES[name].longest // 2 + 1)
    assert_same_timestamps(pair, audio)
    assert_same_scenes(pair, build_sounds(8000))


@pytest.mark.slow
@EVERY_MODULE
def test_modules_of_full_depth_equal_the_reference_on_long_clips(name, build_pair, build_sounds):
    pair, expected = build_pair(name, depth=12), MODULES[name]
    assert_same_timestamps(pair, build_sounds(48_001))
    for n_samples in (RATE_HZ, expected.window, expected.window + 1):
        assert_same_scenes(pair, build_sounds(n_samples, 1))


def test_the_patched_depth_is_restored(build_pair):
    build_pair("base")
    assert {spec.depth for spec in ARCHS.values()} == {7, 12}
