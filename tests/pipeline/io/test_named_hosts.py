"""Lists of recordings on many hosts, some of which are gone, broken, slow or lie."""

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
from tests.hosts import drip, closed_port_url, run_host, overstate_length

SOUND = b"RIFF" + bytes(range(256)) * 40
ANY_SIZE = 1 << 40
BRIEF = Storage(timeout_s=0.4)


@pytest.fixture(autouse=True)
def _no_memory():
    named_hosts.forget_failures()


@pytest.fixture
def host():
    with run_host({"/sound.wav": SOUND, "/other.wav": SOUND}) as host:
        yield host


def manifest(folder, *uris):
    path = folder / "list.csv"
    path.write_text("\n".join(["uri", *uris]) + "\n")
    return str(path)


def listed(source, storage=BRIEF):
    return list_sources([source], SourceOptions(storage=storage)).clips


def classes(clips):
    return {clip.uri: clip.failure[0] for clip in clips if clip.failure}


def test_dead_hosts_of_a_list_are_errors_of_their_clips_alone(host, tmp_path):
    refusing = closed_port_url()
    dead = [f"{refusing}/a.wav", f"{refusing}/b.wav", "http://nosuchhost.invalid/x.wav"]
    clips = listed(manifest(tmp_path, f"{host.url}/sound.wav", *dead))
    assert classes(clips) == dict.fromkeys(dead, "host_unreachable")
    for clip in clips:
        for open_it in (
            lambda c: open_clip(c, BRIEF, ANY_SIZE),
            lambda c: open_clip_lazily(c, BRIEF),
        ):
            if clip.uri in dead:
                with pytest.raises(ClipError) as raised, open_it(clip):
                    pass
                assert raised.value.error_class == "host_unreachable"
                assert raised.value.message.startswith(clip.uri)
            else:
                with open_it(clip) as file:
                    assert file.read() == SOUND


@pytest.mark.parametrize("status", [500, 502, 503, 429, 400, 418])
def test_a_status_of_one_recording_is_the_error_of_its_clip(host, tmp_path, status):
    host.answers["/bad.wav"] = status
    clips = listed(manifest(tmp_path, f"{host.url}/bad.wav", f"{host.url}/sound.wav"))
    assert classes(clips) == {f"{host.url}/bad.wav": "server_error"}
    assert f"HTTP status {status}" in clips[0].failure[1]


@pytest.mark.parametrize(
    ("status", "error_class"),
    [(404, "missing"), (410, "missing"), (401, "forbidden"), (403, "forbidden")],
)
def test_what_is_not_there_or_not_for_us_is_the_error_of_its_clip(
    host, tmp_path, status, error_class
):
    host.answers["/bad.wav"] = status
    clips = listed(manifest(tmp_path, f"{host.url}/bad.wav", f"{host.url}/sound.wav"))
    with pytest.raises(ClipError) as raised, open_clip(clips[0], BRIEF, ANY_SIZE):
        pass
    assert raised.value.error_class == error_class


def test_a_circle_of_redirects_is_the_error_of_its_clip_at_once(host, tmp_path):
    host.answers |= {"/a.wav": "/b.wav", "/b.wav": "/a.wav"}
    endless = {f"/{i}.wav": f"/{i + 1}.wav" for i in range(30)}
    host.answers |= endless
    uris = [f"{host.url}/{name}.wav" for name in ("a", "0", "sound")]
    clips = listed(manifest(tmp_path, *uris), Storage(timeout_s=60))
    assert classes(clips) == dict.fromkeys(uris[:2], "redirect_loop")


def test_redirects_that_lead_somewhere_are_followed(host, tmp_path):
    with run_host({"/moved.wav": f"{host.url}/sound.wav"}) as other:
        clips = listed(manifest(tmp_path, f"{other.url}/moved.wav"))
        with open_clip(clips[0], BRIEF, ANY_SIZE) as file:
            assert file.read() == SOUND


def test_a_host_without_a_certificate_is_the_error_of_its_clips(host, tmp_path):
    url = host.url.replace("http://", "https://") + "/sound.wav"
    clips = listed(manifest(tmp_path, url, f"{host.url}/sound.wav"))
    assert classes(clips) == {url: "tls_error"}


def test_a_content_length_that_is_too_long_is_the_error_of_its_clip(host, tmp_path):
    host.answers["/long.wav"] = overstate_length(SOUND)
    clips = listed(manifest(tmp_path, f"{host.url}/long.wav", f"{host.url}/sound.wav"))
    assert not classes(clips)
    found = {}
    for recording in clip_recordings(clips, BRIEF):
        try:
            with recording.open(ANY_SIZE) as file:
                found[recording.clips[0].uri] = file.read()
        except ClipError as error:
            found[recording.clips[0].uri] = error.error_class
    assert found == {f"{host.url}/long.wav": "short_response", f"{host.url}/sound.wav": SOUND}


def test_a_byte_now_and_then_is_the_error_of_its_clip(host, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LEAST_BYTES_PER_S", 1 << 20)
    host.answers["/drip.wav"] = drip(SOUND)
    (clip,) = listed(manifest(tmp_path, f"{host.url}/drip.wav"))
    for open_it in (
        lambda: open_clip(clip, BRIEF, ANY_SIZE),
        lambda: open_clip_lazily(replace(clip, n_bytes=len(SOUND)), BRIEF),
    ):
        with pytest.raises(ClipError) as raised, open_it() as file:
            file.read()
        assert raised.value.error_class == "too_slow"
        assert "--store-timeout-s" in raised.value.message


def test_a_large_recording_may_take_longer_than_the_timeout(host, tmp_path):
    host.answers["/drip.wav"] = drip(SOUND[:12], every_s=0.06)
    (clip,) = listed(manifest(tmp_path, f"{host.url}/drip.wav"))
    http_reading_rate = reading.LEAST_BYTES_PER_S
    try:
        reading.LEAST_BYTES_PER_S = 10
        with open_clip(clip, BRIEF, ANY_SIZE) as file:
            assert file.read() == SOUND[:12]
    finally:
        reading.LEAST_BYTES_PER_S = http_reading_rate


def test_a_dead_host_is_waited_for_once_and_not_for_each_of_its_recordings(
    host, tmp_path, monkeypatch
):
    monkeypatch.setattr(named_hosts, "SILENT_PATIENCE_S", 0.5)
    dead = closed_port_url()
    uris = [f"{dead}/{i}.wav" for i in range(200)]
    began_s = time.monotonic()
    clips = listed(manifest(tmp_path, f"{host.url}/sound.wav", *uris), Storage(timeout_s=120))
    assert time.monotonic() - began_s < 60
    assert len(classes(clips)) == 200


def test_if_no_host_answers_it_is_no_fault_of_the_clips(tmp_path):
    uris = [f"{closed_port_url()}/a.wav", f"{closed_port_url()}/b.wav", "http://no.such.invalid/c.wav"]
    with pytest.raises(StoreError, match="none of the 3 hosts that the list names answers"):
        listed(manifest(tmp_path, *uris))
    with pytest.raises(StoreError, match="is the only host of the list"):
        listed(manifest(tmp_path, uris[0]))


def test_one_dead_host_beside_files_of_this_machine_is_its_clips_error(tmp_path):
    (tmp_path / "here.wav").write_bytes(SOUND)
    uri = f"{closed_port_url()}/a.wav"
    assert classes(listed(manifest(tmp_path, "here.wav", uri))) == {uri: "host_unreachable"}


def test_a_host_that_dies_after_the_listing_is_its_clips_error_if_others_answer(host, tmp_path):
    with run_host({"/gone.wav": SOUND}) as other:
        uris = [f"{other.url}/gone.wav", f"{host.url}/sound.wav", f"{host.url}/other.wav"]
        clips = listed(manifest(tmp_path, *uris))
    found = {}
    for recording in clip_recordings(clips, Storage(timeout_s=1.0)):
        try:
            with recording.open(ANY_SIZE) as file:
                found[recording.clips[0].uri] = file.read()
        except ClipError as error:
            found[recording.clips[0].uri] = error.error_class
    assert found == {uris[0]: "host_unreachable", uris[1]: SOUND, uris[2]: SOUND}


def test_if_all_hosts_die_after_the_listing_it_is_no_fault_of_the_clips(tmp_path):
    with run_host({"/gone.wav": SOUND}) as other:
        (clip,) = listed(manifest(tmp_path, f"{other.url}/gone.wav"))
    with pytest.raises(StoreError, match="cannot be read"), open_clip(clip, BRIEF, ANY_SIZE):
        pass


def test_the_host_of_a_source_is_the_persons_own_and_its_outage_no_clips_error(host, tmp_path):
    source = f"{host.url}/list.csv"
    host.answers |= {"/list.csv": b"uri\nsound.wav\nbad.wav\n", "/bad.wav": 503}
    with pytest.raises(StoreError, match="HTTP status 503"):
        listed(source)
    host.answers["/bad.wav"] = 404
    assert {clip.version for clip in listed(source)} >= {"missing"}


BAD_URLS = ["http://[::1/x.wav", "http://host:99999/x.wav", "http:///x.wav", "http://h:ab/x.wav"]


@pytest.mark.parametrize("uri", BAD_URLS)
def test_a_row_that_is_no_url_is_refused_by_its_line(host, tmp_path, uri):
    with pytest.raises(UsageError, match=r"list\.csv', line 3: .*(no valid URL|no host)") as raised:
        listed(manifest(tmp_path, f"{host.url}/sound.wav", uri))
    assert "\n" not in str(raised.value)


def test_a_redirect_to_what_is_no_url_is_the_error_of_its_clip(host, tmp_path):
    host.answers["/moved.wav"] = "http://[::1"
    uri = f"{host.url}/moved.wav"
    assert classes(listed(manifest(tmp_path, uri, f"{host.url}/sound.wav"))) == {uri: "bad_url"}


@pytest.mark.parametrize("source", BAD_URLS)
def test_a_source_that_is_no_url_is_refused_in_one_line(source):
    with pytest.raises(UsageError, match=r"no valid URL|no host") as raised:
        listed(source)
    assert "\n" not in str(raised.value)


def test_a_manifest_on_a_server_comes_in_time_or_the_run_ends(host, monkeypatch):
    monkeypatch.setattr(reading, "LEAST_BYTES_PER_S", 1 << 20)
    host.answers["/list.csv"] = drip(b"uri\n" + b"x.wav\n" * 1000)
    with pytest.raises(StoreError, match=r"reading http.*list\.csv.* bytes came in"):
        listed(f"{host.url}/list.csv")
    host.answers["/list.csv"] = 403
    with pytest.raises(UsageError, match=r"list\.csv': HTTP status 403"):
        listed(f"{host.url}/list.csv")
