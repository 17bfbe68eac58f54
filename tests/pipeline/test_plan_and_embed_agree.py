"""Tests that plan, embed and verify agree on each damaged file of `damaged_audio`.

Each file is read as a local file, as a remote file (of which plan reads ranges) and as a member of
a tar. The result must be the one that `damaged_audio` expects.
"""

import dataclasses
import io
import tarfile

import pytest

from pipeline.audio import AUDIO_ENDINGS
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.maintenance.verify import verify_table
from pipeline.planning.clip_estimate import ClipEstimate, estimate_clips
from pipeline.readers.lazy_file import Blocks, open_lazily
from pipeline.readers.lazy_reader import lazy_recording, lazy_recordings
from pipeline.readers.recording import Recording
from pipeline.readers.shard_reader import clip_recording, container_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import Listing, SourceOptions
from pipeline.stream.events import ClipDone, ClipFailed
from pipeline.table.spec import Route, TableSpec
from tests.pipeline.conftest import single_clip_events
from tests.pipeline.decode.damaged_audio import DamagedAudio, all_damaged

SPEC = TableSpec(
    routes=(Route("statistics", 10.0, "random:0", "0" * 64, 320),),
    min_samples=6_000,
    embedding_dim=4,
    n_classes=3,
    window_s=10.0,
    hop_s=5.0,
)
RATE_HZ = 32_000
each_file = pytest.mark.parametrize("file", all_damaged(), ids=lambda file: file.name)


def decode_for_embed(recording: Recording) -> ClipEstimate:
    """Return the length, or the error, that decoding a recording for `embed` yields."""
    *_, last = single_clip_events(recording, 0, SPEC.decode_rule)
    if isinstance(last, ClipFailed):
        return ClipEstimate(last.error_class)
    assert isinstance(last, ClipDone)
    return ClipEstimate(n_samples=last.n_samples, decoded_short=last.decoded_short)


def check_decoded(file: DamagedAudio, decoded: ClipEstimate) -> None:
    assert decoded.error == file.error
    assert decoded.decoded_short == file.decoded_short
    if file.duration_s is not None:
        assert decoded.n_samples / RATE_HZ == pytest.approx(
            file.duration_s, rel=0, abs=file.within_s
        )


def check_plan(file: DamagedAudio, planned: ClipEstimate, decoded: ClipEstimate) -> None:
    if file.plan_error is not None:
        assert planned.error == file.plan_error
        return
    assert (planned.error, planned.decoded_short) == (decoded.error, decoded.decoded_short)
    if planned.is_exact:
        assert planned.n_samples == decoded.n_samples
    else:
        assert planned.n_samples == pytest.approx(decoded.n_samples, rel=0.1)


@pytest.fixture
def listed_file(tmp_path, listed, file):
    (tmp_path / file.name).write_bytes(file.content())
    ref = listed(tmp_path / file.name)
    return dataclasses.replace(ref, member="t=" if file.span else "", span=file.span)


@each_file
def test_audio_is_decoded_or_its_error_is_reported(listed_file, file):
    check_decoded(file, decode_for_embed(clip_recording(listed_file)))


@each_file
def test_plan_predicts_the_result_of_embed(listed_file, file):
    (planned,) = estimate_clips(lazy_recording((listed_file,), DEFAULT_STORAGE), SPEC)
    check_plan(file, planned, decode_for_embed(clip_recording(listed_file)))


@each_file
def test_plan_predicts_the_same_for_a_remote_file(listed_file, file):
    content = file.content()
    blocks = Blocks(len(content), lambda start, end: content[start:end])
    remote = Recording((listed_file,), lambda _: open_lazily(len(content), blocks.range))
    (planned,) = estimate_clips(remote, SPEC)
    (local,) = estimate_clips(lazy_recording((listed_file,), DEFAULT_STORAGE), SPEC)
    assert planned == local


@pytest.mark.parametrize(
    "file", [file for file in all_damaged() if not file.span], ids=lambda file: file.name
)
def test_tar_members_are_treated_like_files(tmp_path, file):
    content = file.content()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        is_known = file.name.endswith(AUDIO_ENDINGS)
        member = tarfile.TarInfo(file.name if is_known else f"{file.name}.wav")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    (container,) = list_sources([str(tmp_path / "a.tar")], SourceOptions("tar")).containers
    (decoded,) = map(decode_for_embed, container_recordings(container))
    check_decoded(file, decoded)
    for recording in lazy_recordings(container, DEFAULT_STORAGE):
        (planned,) = estimate_clips(recording, SPEC)
        check_plan(file, planned, decoded)


def test_verify_passes_on_a_table_of_all_damaged_files(tmp_path, new_table, embed, listed):
    clips = []
    for file in all_damaged():
        (tmp_path / file.name).write_bytes(file.content())
        ref = listed(tmp_path / file.name)
        clips.append(dataclasses.replace(ref, member="t=" if file.span else "", span=file.span))
    names = ("routes", "min_samples", "window_s", "hop_s")
    table = new_table(**{name: getattr(SPEC, name) for name in names})
    embed(table, clips)
    report = verify_table(table, Listing(clips))
    assert report.passed, report.problems
