"""`canary`: the first process leaves what came out, later ones are held to it."""

import hashlib

import numpy as np
import pytest
import soundfile

from pipeline.embedding.canary import CANARY_NAME, SIGNAL, TOLERANCES, check_canary
from pipeline.errors import DriftError, StoreError


def embedder(scale=1.0, width=4):
    """Statistics of the window; what it was given is kept in `seen`."""
    seen = {}

    def embed(arch, window):
        seen[arch] = window
        vector = np.array([window.std(), np.abs(window).max(), 1, len(window)], np.float32)
        return (vector * np.float32(scale))[:width]

    embed.seen = seen
    return embed


def test_the_first_leaves_it_and_others_are_compared(new_table):
    table = new_table()
    embed = embedder()
    check_canary(table, embed, "cpu")
    content = table.store.read(CANARY_NAME)
    (window,) = embed.seen.values()
    assert (window.dtype, window.shape) == (np.float32, (320,))
    check_canary(table, embedder(1 + TOLERANCES["fp32"] / 2), "cpu")
    assert table.store.read(CANARY_NAME) == content


@pytest.mark.parametrize("embed", [embedder(1.01), embedder(float("nan")), embedder(width=3)])
def test_a_drift_is_told_with_where_and_how_far(new_table, embed):
    table = new_table()
    check_canary(table, embedder(), "an H100")
    told = (
        r"Tesla on .* embeds .* by statistics at a distance of (0\.01|nan|inf) from what "
        r"an H100 on .* left in .*canary\.json, more than 0\.005 \(fp32\)"
    )
    with pytest.raises(DriftError, match=told):
        check_canary(table, embed, "Tesla")


def test_a_lower_precision_may_be_further_off(new_table):
    table = new_table(precision="bf16")
    check_canary(table, embedder(), "cpu")
    check_canary(table, embedder(1.03), "cpu")
    with pytest.raises(DriftError, match="bf16"):
        check_canary(table, embedder(1.06), "cpu")


def test_each_route_has_a_window_of_its_own_length(new_table, make_spec, routed):
    table = new_table(**routed)
    embed = embedder()
    check_canary(table, embed, "cpu")
    lengths = [len(embed.seen[f"to_{ms}"]) for ms in (10, 20, 30)]
    assert lengths == [320, 640, 960]
    assert [make_spec(**routed).route_index(n) for n in lengths] == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"vectors": {}}', b"[1]"])
def test_a_damaged_one_is_named(new_table, content):
    table = new_table()
    table.store.put_if_absent(CANARY_NAME, content)
    with pytest.raises(StoreError, match=r"canary\.json is damaged .*; delete it"):
        check_canary(table, embedder(), "cpu")


def test_the_signal_is_never_another():
    """Tables are held to it for as long as they live."""
    digest = hashlib.sha256(SIGNAL.read_bytes()).hexdigest()
    assert digest == "526ef4b6ec4f2a9b42695553eb9ef2a20d618c174c80b31c890c9cabace85876"
    info = soundfile.info(str(SIGNAL))
    assert (info.samplerate, info.duration) == (44_100, 2.0)
