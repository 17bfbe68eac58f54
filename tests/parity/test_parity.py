"""Parity of `passtream embed` with the reference package, on a state dict saved by it."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.support import assert_verified, passtream, tone, vectors

# Clips of a few patches, shorter than a window, exactly a window, and long enough to be cut.
# `test_hear_modules` compares longer clips with the reference, with fewer blocks.
DURATIONS_S = (0.4, 1.6, 3.7, 10.0, 12.3)
TOLERANCE = 1e-4

pytestmark = pytest.mark.timeout(1200)


def _increase_variance(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scale initial weights up, whose nearly equal tokens would hide a wrong order of patches."""
    generator = torch.Generator().manual_seed(1)
    scaled = {}
    for key, value in state_dict.items():
        if "pos_embed" in key or key.endswith("_token"):
            value = value * 25
        elif key.endswith("bias"):
            value = value + 0.05 * torch.empty_like(value).normal_(generator=generator)
        elif value.ndim > 1:
            value = value * 1.5
        scaled[key] = value
    return scaled


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("parity") / "clips"
    folder.mkdir()
    samples = {}
    for seed, duration_s in enumerate(DURATIONS_S):
        path = folder / f"{duration_s}.wav"
        samples[path] = tone(duration_s, 32_000, seed)
        soundfile.write(path, samples[path], 32_000, subtype="FLOAT")
    return samples


@pytest.fixture(scope="module")
def reference(corpus, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """A state dict saved by hear21passt, and its scene embeddings (logits, then features)."""
    weights = tmp_path_factory.mktemp("weights") / "reference.pt"
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference uses deprecated torch calls
        from hear21passt.base import get_scene_embeddings
        from hear21passt.models.passt import get_model
        from hear21passt.models.preprocess import AugmentMelSTFT
        from hear21passt.wrapper import PasstBasicWrapper

        torch.manual_seed(0)
        net = get_model(arch="passt_s_swa_p16_128_ap476", pretrained=False)
        state_dict = _increase_variance(net.state_dict())
        net.load_state_dict(state_dict)
        torch.save(state_dict, weights)
        mel = AugmentMelSTFT(freqm=48, timem=192, fmin_aug_range=10, fmax_aug_range=2000)
        model = PasstBasicWrapper(mel=mel, net=net, mode="all")
        scenes = {
            str(path): get_scene_embeddings(torch.from_numpy(samples)[None], model)[0].numpy()
            for path, samples in corpus.items()
        }
    return weights, scenes


@pytest.mark.parametrize(
    "execution", [pytest.param("--on-ray", marks=pytest.mark.slow), "--in-process"]
)
def test_passtream_embed_equals_hear21passt(execution, corpus, reference, tmp_path):
    weights, scenes = reference
    folder = next(iter(corpus)).parent
    table = tmp_path / "table"
    done = passtream(
        *("embed", folder, table, execution),
        *("--weights", weights, "--outputs", "embedding,logits", "--tables", "clips,windows"),
    )
    assert done.returncode == 0, done.stderr
    report = assert_verified(table)
    # The 12.3 s clip has 12.3 // 2.5 + 1 = 5 windows, the others have one each.
    assert (report.clips, report.windows) == (5, 4 + 5)
    embeddings, logits = vectors(table), vectors(table, "logits")
    assert embeddings.keys() == scenes.keys()
    for uri, scene in scenes.items():
        assert np.abs(logits[uri] - scene[:527]).max() < TOLERANCE, uri
        assert np.abs(embeddings[uri] - scene[527:]).max() < TOLERANCE, uri
    spread = np.std(np.stack(list(embeddings.values())), axis=0).mean()
    assert spread > 100 * TOLERANCE, "equal embeddings would make the comparison meaningless"
