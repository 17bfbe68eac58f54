"""Tests of S3 credentials that arrive late, expire, are rejected or are missing."""

import os
import time

import pytest

from pipeline.clips import ClipRef
from pipeline.errors import CredentialsError, HostError, UsageError
from pipeline.io import credentials, s3_reader
from pipeline.io import storage as storage_module
from pipeline.io.storage import Storage
from pipeline.readers.clip_file import open_clip
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.metadata_service import metadata_service
from tests.servers import Fault, S3Server, fault_proxy

SOUND = b"RIFF and so on"
ANY_SIZE = 1 << 40


@pytest.fixture
def source(moto, tmp_path):
    bucket = moto.new_bucket()
    moto.storage().filesystem(bucket).pipe_file(f"{bucket}/corpus/a.wav", SOUND)
    return f"{bucket}/corpus"


@pytest.fixture
def bare_machine(moto, tmp_path, monkeypatch):
    """The environment of a new process on a machine without any keys."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(storage_module, "_FILESYSTEMS", {})
    monkeypatch.setattr(s3_reader, "_READERS", {})
    monkeypatch.setattr(credentials, "_renewed_s", float("-inf"))
    # The code sets these; monkeypatch restores them after the test.
    for name in ("AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return monkeypatch


def list_clips(source, storage):
    return list_sources([source], SourceOptions(storage=storage)).clips


def read(clip, storage):
    with open_clip(clip, storage, ANY_SIZE) as file:
        return file.read()


@pytest.mark.parametrize(
    "settings",
    [{"late_s": 1.5, "n_late": 3}, {"n_absent": 12}, {}],
    ids=["late", "not yet", "at once"],
)
def test_keys_of_a_slow_metadata_service_are_waited_for(source, bare_machine, settings):
    storage = Storage(timeout_s=40.0)
    with metadata_service(**settings) as service:
        bare_machine.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        (clip,) = list_clips(source, storage)
        assert read(clip, storage) == SOUND
        reader = s3_reader.s3_reader(clip.uri, storage)
        assert reader is not None
        assert reader.has_credentials


def test_missing_role_or_metadata_service_is_reported_at_once(source, bare_machine):
    began_s = time.monotonic()
    with metadata_service(has_role=False) as service:
        bare_machine.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
        with pytest.raises(UsageError, match="set AWS_PROFILE"):
            list_clips(source, Storage(timeout_s=600.0))
    bare_machine.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="set AWS_PROFILE"):
        list_clips(source, Storage(timeout_s=601.0))
    assert time.monotonic() - began_s < 200


def test_a_worker_process_waits_for_credentials(source, bare_machine):
    bare_machine.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clip = ClipRef(f"{source}/a.wav", "any")
    began_s = time.monotonic()
    with pytest.raises(HostError, match="set AWS_PROFILE"):
        read(clip, Storage(timeout_s=2.0, awaits_credentials=True))
    assert time.monotonic() - began_s >= 2


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ExpiredToken", "have expired"),
        ("TokenRefreshRequired", "have expired"),
        ("RequestExpired", "have expired"),
        ("InvalidAccessKeyId", "does not know these credentials"),
        ("SignatureDoesNotMatch", "does not know these credentials"),
        ("RequestTimeTooSkewed", "clock of this machine"),
    ],
)
def test_rejected_credentials_end_the_run_with_the_reason(moto, source, code, message):
    key = f"{source}/a.wav"
    (clip,) = list_clips(source, moto.storage())
    with fault_proxy(moto) as proxy:
        server = S3Server(proxy.url)
        proxy.faults += [Fault(f"code {code}", each, "a.wav", 1000) for each in ("HEAD", "GET")]
        began_s = time.monotonic()
        with pytest.raises(CredentialsError, match=message) as raised:
            read(clip, server.storage(timeout_s=600.0))
        assert time.monotonic() - began_s < 200
        assert code in str(raised.value) or key in str(raised.value)


def test_renewed_credentials_are_used(moto, source, bare_machine):
    (clip,) = list_clips(source, moto.storage())
    bare_machine.setenv("AWS_ACCESS_KEY_ID", "AKIDOFYESTERDAY")
    bare_machine.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-yesterday")
    with fault_proxy(moto) as proxy:
        # Arrow's reader sends one request and s3fs two, as the reply to HEAD has no reason.
        proxy.faults += [Fault("expired", "HEAD", "a.wav", 2), Fault("expired", "GET", "a.wav", 1)]
        storage = Storage((("endpoint_url", proxy.url),), timeout_s=30.0)
        assert read(clip, storage) == SOUND
