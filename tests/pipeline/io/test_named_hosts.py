"""Tests of lists of recordings on many hosts, of which some are gone, slow or send wrong data."""

import time
from dataclasses import replace

import pytest

from pipeline.errors import ClipError, StoreError, UsageError
from pipeline.io import named_hosts
from pipeline.io.http import reading
from pipeline.io.storage import Storage
from pipeline.readers.clip_file import open_clip
from pipeline.readers.lazy_file import open_clip_lazily
from pipeline.readers.shard_reader import clip_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.hosts import closed_port_url, drip, overstate_length, run_host

AUDIO = b"RIFF" + bytes(range(256)) * 40
ANY_SIZE = 1 << 40
SHORT_TIMEOUT = Storage(timeout_s=0.4)


@pytest.fixture(autouse=True)
def _forget_failures():
    named_hosts.forget_failures()


@pytest.fixture
def host():
    with run_host({"/sound.wav": AUDIO, "/other.wav": AUDIO}) as host:
        yield host


def write_manifest(folder, *uris):
    path = folder / "list.csv"
    path.write_text("\n".join(["uri", *uris]) + "\n")
    return str(path)


def list_clips(source, storage=SHORT_TIMEOUT):
    return list_sources([source], SourceOptions(storage=storage)).clips


def error_classes(clips):
    return {clip.uri: clip.failure[0] for clip in clips if clip.failure}


def test_dead_host_in_a_list_fails_only_its_own_clips(host, tmp_path):
    refusing = closed_port_url()
    dead = [f"{refusing}/a.wav", f"{refusing}/b.wav", "http://nosuchhost.invalid/x.wav"]
    clips = list_clips(write_manifest(tmp_path, f"{host.url}/sound.wav", *dead))
    assert error_classes(clips) == dict.fromkeys(dead, "host_unreachable")
    for clip in clips:
        for open_function in (
            lambda c: open_clip(c, SHORT_TIMEOUT, ANY_SIZE),
            lambda c: open_clip_lazily(c, SHORT_TIMEOUT),
        ):
            if clip.uri in dead:
                with pytest.raises(ClipError) as raised, open_function(clip):
                    pass
                assert raised.value.error_class == "host_unreachable"
                assert raised.value.message.startswith(clip.uri)
            else:
                with open_function(clip) as file:
                    assert file.read() == AUDIO


@pytest.mark.parametrize("status", [500, 502, 503, 429, 400, 418])
def test_error_status_of_a_recording_fails_its_clip(host, tmp_path, status):
    host.answers["/bad.wav"] = status
    clips = list_clips(write_manifest(tmp_path, f"{host.url}/bad.wav", f"{host.url}/sound.wav"))
    assert error_classes(clips) == {f"{host.url}/bad.wav": "server_error"}
    assert f"HTTP status {status}" in clips[0].failure[1]


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(404, "missing"), (410, "missing"), (401, "forbidden"), (403, "forbidden")],
)
def test_missing_or_forbidden_recording_fails_its_clip(host, tmp_path, status, error_class):
    host.answers["/bad.wav"] = status
    clips = list_clips(write_manifest(tmp_path, f"{host.url}/bad.wav", f"{host.url}/sound.wav"))
    with pytest.raises(ClipError) as raised, open_clip(clips[0], SHORT_TIMEOUT, ANY_SIZE):
        pass
    assert raised.value.error_class == error_class


def test_redirect_loop_fails_its_clip_without_retries(host, tmp_path):
    host.answers |= {"/a.wav": "/b.wav", "/b.wav": "/a.wav"}
    long_chain = {f"/{i}.wav": f"/{i + 1}.wav" for i in range(30)}
    host.answers |= long_chain
    uris = [f"{host.url}/{name}.wav" for name in ("a", "0", "sound")]
    clips = list_clips(write_manifest(tmp_path, *uris), Storage(timeout_s=60))
    assert error_classes(clips) == dict.fromkeys(uris[:2], "redirect_loop")


def test_redirect_to_another_host_is_followed(host, tmp_path):
    with run_host({"/moved.wav": f"{host.url}/sound.wav"}) as other:
        clips = list_clips(write_manifest(tmp_path, f"{other.url}/moved.wav"))
        with open_clip(clips[0], SHORT_TIMEOUT, ANY_SIZE) as file:
            assert file.read() == AUDIO


def test_host_without_a_certificate_fails_its_clips(host, tmp_path):
    url = host.url.replace("http://", "https://") + "/sound.wav"
    clips = list_clips(write_manifest(tmp_path, url, f"{host.url}/sound.wav"))
    assert error_classes(clips) == {url: "tls_error"}


def test_overstated_content_length_fails_its_clip(host, tmp_path):
    host.answers["/long.wav"] = overstate_length(AUDIO)
    clips = list_clips(write_manifest(tmp_path, f"{host.url}/long.wav", f"{host.url}/sound.wav"))
    assert not error_classes(clips)
    found = {}
    for recording in clip_recordings(clips, SHORT_TIMEOUT):
        try:
            with recording.open(ANY_SIZE) as file:
                found[recording.clips[0].uri] = file.read()
        except ClipError as error:
            found[recording.clips[0].uri] = error.error_class
    assert found == {f"{host.url}/long.wav": "short_response", f"{host.url}/sound.wav": AUDIO}


def test_too_slow_response_fails_its_clip(host, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MIN_RATE_BYTES_PER_S", 1 << 20)
    host.answers["/drip.wav"] = drip(AUDIO)
    (clip,) = list_clips(write_manifest(tmp_path, f"{host.url}/drip.wav"))
    for open_function in (
        lambda: open_clip(clip, SHORT_TIMEOUT, ANY_SIZE),
        lambda: open_clip_lazily(replace(clip, n_bytes=len(AUDIO)), SHORT_TIMEOUT),
    ):
        with pytest.raises(ClipError) as raised, open_function() as file:
            file.read()
        assert raised.value.error_class == "too_slow"
        assert "--store-timeout-s" in raised.value.message


def test_large_recording_may_take_longer_than_the_timeout(host, tmp_path):
    host.answers["/drip.wav"] = drip(AUDIO[:12], every_s=0.06)
    (clip,) = list_clips(write_manifest(tmp_path, f"{host.url}/drip.wav"))
    usual_rate = reading.MIN_RATE_BYTES_PER_S
    try:
        reading.MIN_RATE_BYTES_PER_S = 10
        with open_clip(clip, SHORT_TIMEOUT, ANY_SIZE) as file:
            assert file.read() == AUDIO[:12]
    finally:
        reading.MIN_RATE_BYTES_PER_S = usual_rate


def test_dead_host_is_retried_once_and_not_per_recording(host, tmp_path, monkeypatch):
    monkeypatch.setattr(named_hosts, "SILENT_HOST_RETRY_S", 0.5)
    dead = closed_port_url()
    uris = [f"{dead}/{i}.wav" for i in range(200)]
    began_s = time.monotonic()
    clips = list_clips(
        write_manifest(tmp_path, f"{host.url}/sound.wav", *uris), Storage(timeout_s=120)
    )
    assert time.monotonic() - began_s < 60
    assert len(error_classes(clips)) == 200


def test_run_fails_and_not_the_clips_if_no_host_answers(tmp_path):
    uris = [
        f"{closed_port_url()}/a.wav",
        f"{closed_port_url()}/b.wav",
        "http://no.such.invalid/c.wav",
    ]
    with pytest.raises(StoreError, match="none of the 3 hosts that the list names answers"):
        list_clips(write_manifest(tmp_path, *uris))
    with pytest.raises(StoreError, match="is the only host of the list"):
        list_clips(write_manifest(tmp_path, uris[0]))


def test_dead_host_beside_local_files_fails_only_its_clips(tmp_path):
    (tmp_path / "here.wav").write_bytes(AUDIO)
    uri = f"{closed_port_url()}/a.wav"
    clips = list_clips(write_manifest(tmp_path, "here.wav", uri))
    assert error_classes(clips) == {uri: "host_unreachable"}


def test_host_that_dies_after_the_listing_fails_its_clips_if_others_answer(host, tmp_path):
    with run_host({"/gone.wav": AUDIO}) as other:
        uris = [f"{other.url}/gone.wav", f"{host.url}/sound.wav", f"{host.url}/other.wav"]
        clips = list_clips(write_manifest(tmp_path, *uris))
    found = {}
    for recording in clip_recordings(clips, Storage(timeout_s=1.0)):
        try:
            with recording.open(ANY_SIZE) as file:
                found[recording.clips[0].uri] = file.read()
        except ClipError as error:
            found[recording.clips[0].uri] = error.error_class
    assert found == {uris[0]: "host_unreachable", uris[1]: AUDIO, uris[2]: AUDIO}


def test_run_fails_if_all_hosts_die_after_the_listing(tmp_path):
    with run_host({"/gone.wav": AUDIO}) as other:
        (clip,) = list_clips(write_manifest(tmp_path, f"{other.url}/gone.wav"))
    with (
        pytest.raises(StoreError, match="cannot be read"),
        open_clip(clip, SHORT_TIMEOUT, ANY_SIZE),
    ):
        pass


def test_outage_of_the_host_of_a_source_fails_the_run_and_not_a_clip(host, tmp_path):
    source = f"{host.url}/list.csv"
    host.answers |= {"/list.csv": b"uri\nsound.wav\nbad.wav\n", "/bad.wav": 503}
    with pytest.raises(StoreError, match="HTTP status 503"):
        list_clips(source)
    host.answers["/bad.wav"] = 404
    assert {clip.version for clip in list_clips(source)} >= {"missing"}


BAD_URLS = ["http://[::1/x.wav", "http://host:99999/x.wav", "http:///x.wav", "http://h:ab/x.wav"]


@pytest.mark.parametrize("uri", BAD_URLS)
def test_invalid_url_in_a_row_is_refused_with_its_line(host, tmp_path, uri):
    with pytest.raises(UsageError, match=r"list\.csv', line 3: .*(no valid URL|no host)") as raised:
        list_clips(write_manifest(tmp_path, f"{host.url}/sound.wav", uri))
    assert "\n" not in str(raised.value)


def test_redirect_to_an_invalid_url_fails_its_clip(host, tmp_path):
    host.answers["/moved.wav"] = "http://[::1"
    uri = f"{host.url}/moved.wav"
    clips = list_clips(write_manifest(tmp_path, uri, f"{host.url}/sound.wav"))
    assert error_classes(clips) == {uri: "bad_url"}


@pytest.mark.parametrize("source", BAD_URLS)
def test_invalid_url_as_source_is_refused_in_one_line(source):
    with pytest.raises(UsageError, match=r"no valid URL|no host") as raised:
        list_clips(source)
    assert "\n" not in str(raised.value)


def test_slow_or_forbidden_remote_manifest_fails_the_run(host, monkeypatch):
    monkeypatch.setattr(reading, "MIN_RATE_BYTES_PER_S", 1 << 20)
    host.answers["/list.csv"] = drip(b"uri\n" + b"x.wav\n" * 1000)
    with pytest.raises(StoreError, match=r"reading http.*list\.csv.*received .* bytes in"):
        list_clips(f"{host.url}/list.csv")
    host.answers["/list.csv"] = 403
    with pytest.raises(UsageError, match=r"list\.csv': HTTP status 403"):
        list_clips(f"{host.url}/list.csv")
