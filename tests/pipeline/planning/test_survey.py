"""`survey`: sums over a listing, exact or of a sample, which is the same in each run."""

import math

import pytest

from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.planning.survey import survey
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.table.spec import Route, TableSpec
from tests.pipeline.sources.corpora import wav, write_tar

SPEC = TableSpec(
    routes=(Route("statistics", 0.01, "random:0", "0" * 64, 320),),
    min_samples=32,
    embedding_dim=4,
    n_classes=3,
    window_s=0.01,
    hop_s=0.005,
)


def look(listing, sample=None, cost=lambda route, n_samples: n_samples):
    return survey(listing.clips, listing.containers, SPEC, DEFAULT_STORAGE, cost, sample)


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    """80 files of 3,200 to 6,360 samples, and ten tars of eight each."""
    folder = tmp_path_factory.mktemp("survey")
    for i in range(80):
        (folder / f"{i:02}.wav").write_bytes(wav(3_200 + 40 * i))
        members = {f"{k}.wav": wav(320 * (k + 1)) for k in range(8)}
        if i < 10:
            write_tar(folder / f"{i}.tar", members)
    files = list_sources([str(folder)], SourceOptions("files", include=("*.wav",)))
    tars = list_sources([str(folder)], SourceOptions("tar"))
    files.containers = tars.containers
    return files


def test_all_of_it(listing):
    found = look(listing)
    # Of a tar: 320 * (1 + ... + 8) samples; the files: 80 * 3,200 + 40 * (0 + ... + 79).
    samples = 80 * 3_200 + 40 * 3_160 + 10 * 320 * 36
    assert found.tally.audio_s == pytest.approx(samples / 32_000)
    assert (found.looked, found.is_sample, found.relative_error) == (160, False, 0.0)
    assert found.tally.clips == found.tally.embedded == 160
    assert found.tally.rates == {32_000: 160}
    assert found.tally.work[0] == 320 * found.tally.windows[0]
    # Of a tar's clips the ending is the member's.
    assert found.tally.endings_s == {".wav": pytest.approx(found.tally.audio_s)}


def test_a_sample_of_files_and_tars_is_scaled_up(listing):
    whole, found = look(listing), look(listing, sample=60)
    assert found.is_sample
    assert found.looked >= 60
    # The tars are alike: their scaled sum is exact.
    assert found.tally.clips == pytest.approx(160)
    assert found.relative_error is not None
    assert found.tally.audio_s == pytest.approx(whole.tally.audio_s, rel=5 * found.relative_error)
    assert found.tally.endings_s[".wav"] == pytest.approx(found.tally.audio_s)
    assert look(listing, sample=60) == found


def test_of_one_clip_nobody_knows_how_sure_it_is(listing):
    listing = list_sources([listing.clips[0].uri, listing.clips[1].uri])
    found = look(listing, sample=1)
    assert (found.looked, found.relative_error) == (1, None)
    assert math.isfinite(found.tally.audio_s)
