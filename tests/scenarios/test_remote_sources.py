"""`passtream embed` reads private buckets and signed URLs, and leaks no credentials."""

import base64
import re
import tempfile
import urllib.parse
from pathlib import Path

import botocore.session
import pyarrow.parquet as pq
import pytest

from pipeline.io.storage import Storage
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests import servers
from tests.servers import Fault, S3Server, fault_proxy
from tests.support import QUICK, assert_verified, error_rows, passtream, vectors, write_tones

# Keys of no real account, long and odd enough that they occur in an output only if they leaked.
KEY, SECRET, TOKEN = "AKIDPASSTREAM7TESTS", "kS3cr3tOfTheTests/WithSlash+Plus", "t0k3n-of-the-tests"
SECRETS = (KEY, SECRET, TOKEN)


def private_bucket(server: S3Server, folder: Path) -> str:
    """Create a bucket with three recordings and a file without audio."""
    bucket = server.new_bucket()
    files = server.storage().filesystem(bucket)
    for path in write_tones(folder / "local", (0.5, 0.7, 0.9)):
        files.put_file(str(path), f"{bucket}/corpus/sub dir/{path.name}")
    files.pipe_file(f"{bucket}/corpus/bad.wav", b"no audio")
    return bucket


@pytest.fixture
def private(moto, tmp_path):
    return private_bucket(moto, tmp_path)


KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}


@pytest.fixture
def environment(moto):
    return KEYS | {"AWS_ENDPOINT_URL": moto.url, "AWS_REGION": "eu-north-1"}


@pytest.fixture
def ray_folder():
    """Folder of Ray's logs, outside tmp_path, as the paths of Ray's sockets must be short."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def ray_environment(folder: Path) -> dict[str, str]:
    # Ray also writes its events of jobs, tasks and actors to files beside the logs.
    return {"RAY_TMPDIR": str(folder), "RAY_enable_export_api_write": "1"}


def flags(server: S3Server, timeout_s: float = 20):
    given = {"key": KEY, "secret": SECRET, "token": TOKEN, "endpoint_url": server.url}
    options = [x for pair in given.items() for x in ("--storage-options", "=".join(pair))]
    return [*options, "--store-timeout-s", timeout_s]


def assert_nothing_leaks(run, *folders: Path, secrets=SECRETS) -> None:
    texts = {"stdout": run.stdout.encode(), "stderr": run.stderr.encode()}
    for folder in folders:
        for path in (path for path in folder.rglob("*") if path.is_file()):
            texts[str(path)] = path.read_bytes()
            if path.suffix == ".parquet":
                texts[f"{path}, rows"] = repr(pq.read_table(path).to_pylist()).encode()
                texts[f"{path}, schema"] = repr(pq.read_schema(path).metadata).encode()
    for secret in secrets:
        forms = (
            secret,
            urllib.parse.quote(secret, safe=""),
            base64.b64encode(secret.encode()).decode(),
        )
        for form in forms:
            assert not [name for name, text in texts.items() if form.encode() in text], secret


@pytest.mark.parametrize("given_by", ["environment", "options", "options on Ray"])
def test_a_private_bucket_is_embedded_and_no_key_is_written_anywhere(
    moto, private, environment, tmp_path, ray_folder, given_by
):
    table, env = tmp_path / "table", environment if given_by == "environment" else {}
    keys = [] if env else flags(moto)
    runner = "--on-ray" if "Ray" in given_by else "--in-process"
    run = passtream(
        "embed", f"{private}/corpus", table, *QUICK, runner, *keys, "--max-error-ratio", 1,
        env=env | ray_environment(ray_folder),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert f"{private}/corpus: files" in run.stderr
    assert_verified(table)
    assert set(vectors(table)) == {f"{private}/corpus/sub dir/00{i}.wav" for i in range(3)}
    assert error_rows(table)[f"{private}/corpus/bad.wav"][0] == "undecodable"
    assert_nothing_leaks(run, table, ray_folder)


def test_no_key_is_in_a_table_on_a_server_or_in_what_ray_keeps(gateway, tmp_path, ray_folder):
    """A clip is broken, a clip is forbidden, and the store is unavailable for a third."""
    bucket = private_bucket(gateway, tmp_path)
    with fault_proxy(gateway) as proxy:
        for kind, part in (("denied", "000.wav"), ("unavailable", "002.wav")):
            proxy.faults += [Fault(kind, each, part, times=1000) for each in ("GET", "HEAD")]
        given = gateway.options | {"endpoint_url": proxy.url}
        # The run does not use the keys in the environment, but every process has them.
        run = passtream(
            "embed", f"{bucket}/corpus", f"{bucket}/table", *QUICK, "--shard-clips", 1, "--on-ray",
            *(x for pair in given.items() for x in ("--storage-options", "=".join(pair))),
            "--store-timeout-s", 10, env=KEYS | ray_environment(ray_folder), fresh_process=True,
        )  # fmt: skip
    assert run.returncode == 3, run.stdout + run.stderr
    assert "given up: " in run.stderr
    table = tmp_path / "table"
    gateway.storage().filesystem(bucket).get(f"{bucket}/table/", f"{table}/", recursive=True)
    assert list(vectors(table)) == [f"{bucket}/corpus/sub dir/001.wav"]
    assert sorted(kind for kind, _ in error_rows(table).values()) == ["forbidden", "undecodable"]
    # Check that logs and events lie in the searched folder.
    assert list(ray_folder.rglob("python-core-worker-*.log"))
    (jobs,) = ray_folder.rglob("event_EXPORT_DRIVER_JOB.log")
    hidden = f"embed {bucket}/corpus {bucket}/table .* key=[*]+ --storage-options secret=[*]+ "
    assert re.search(hidden, jobs.read_text())
    assert_nothing_leaks(run, table, ray_folder, secrets=(*SECRETS, servers.KEY, servers.SECRET))


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (None, 2, "no such file, folder or bucket"),
        (("denied", "list-type=2"), 2, "no permission to list it"),
        (("unavailable", "list-type=2"), 3, "cannot be listed"),
        (("denied", "001.wav"), 0, ""),
        (("unavailable", "001.wav"), 3, "001.wav cannot be read"),
        (("expired", "001.wav"), 3, "renew the credentials"),
    ],
)
def test_no_key_is_in_any_failure(moto, private, tmp_path, fault, code, message):
    with fault_proxy(moto) as proxy:
        source = f"{private}/corpus" if fault else "s3://nosuchbucket99/x"
        if fault:
            kind, part = fault
            proxy.faults += [Fault(kind, each, part, times=1000) for each in ("GET", "HEAD")]
        run = passtream(
            "embed", source, tmp_path / "table", *QUICK, "--in-process", "--max-error-ratio", 1,
            *flags(S3Server(proxy.url), timeout_s=2),
        )  # fmt: skip
    assert run.returncode == code, run.stderr + run.stdout
    assert message in run.stderr + run.stdout
    assert "Traceback" not in run.stderr
    if fault == ("denied", "001.wav"):
        classes = {error for error, _ in error_rows(tmp_path / "table").values()}
        assert classes == {"forbidden", "undecodable"}
    assert_nothing_leaks(run, tmp_path / "table")


def test_a_signed_url_is_read_and_its_signature_is_written_nowhere(moto, private, tmp_path):
    session = botocore.session.Session()
    client = session.create_client(
        "s3", endpoint_url=moto.url, region_name="us-east-1",
        aws_access_key_id=KEY, aws_secret_access_key=SECRET,
    )  # fmt: skip
    bucket = private.removeprefix("s3://")
    urls = [
        client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": f"corpus/sub dir/00{i}.wav"}
        )
        for i in range(2)
    ]
    signatures = [
        value
        for url in urls
        for name, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)
        if name.lower() in ("signature", "x-amz-signature")
    ]
    assert len(signatures) == 2
    table = tmp_path / "table"
    run = passtream("embed", *urls, table, *QUICK, "--in-process")
    assert run.returncode == 0, run.stderr
    uris = set(vectors(table))
    assert uris == {f"{moto.url}/{bucket}/corpus/sub%20dir/00{i}.wav" for i in range(2)}
    assert_nothing_leaks(run, table, secrets=(*SECRETS, *signatures))


def test_an_unusable_source_is_refused_in_one_line(moto, tmp_path):
    for source, message in {
        "http://127.0.0.1:1/folder/": "folders cannot be listed over http",
        f"{moto.url}/nosuchbucket99/a.wav": "no such file (404)",
        f"s3://{KEY}:{SECRET}@bucket/x": "contains a password",
        "nowhere://bucket/x": "nowhere",
    }.items():
        run = passtream("embed", source, tmp_path / "table", "--store-timeout-s", 1)
        assert run.returncode == 2, run.stderr
        assert message in run.stderr
        assert run.stderr.count("\n") == 1
        assert_nothing_leaks(run)


def test_missing_credentials_are_refused_and_profiles_are_used(
    moto, private, tmp_path, monkeypatch
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.url)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    run = passtream("embed", f"{private}/corpus", tmp_path / "table", *QUICK)
    assert run.returncode == 2, run.stderr
    assert "set AWS_PROFILE" in run.stderr
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    storage = Storage((("profile", "mine"),))
    by_option = list_sources([f"{private}/corpus"], SourceOptions(storage=storage))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    by_environment = list_sources(
        [f"{private}/corpus"], SourceOptions(storage=Storage(timeout_s=9))
    )
    anonymous = SourceOptions(storage=Storage((("anon", True),)))
    assert by_option.clips == by_environment.clips
    assert by_option.clips == list_sources([f"{private}/corpus"], anonymous).clips
