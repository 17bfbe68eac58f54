"""What is sent for a config file, and which files are refused before anything is sent."""

import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from jobs.settings.load_config import load_config
from jobs.settings.sent_config import CONFIG_NAME, forget_config
from jobs.submit.submission import parse_env, prepare_submission
from pipeline.errors import UsageError
from tests.support import ROOT

SECRET = "do-not-show"
CONFIG = {"sources": ["s3://corpus/a"], "table": "s3://tables/t"}


def _written(folder: Path, **settings) -> Path:
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(CONFIG | settings))
    return path


def test_the_folder_holds_our_packages_and_the_settings(tmp_path):
    (tmp_path / "notes.txt").write_text("not for the cluster")
    with prepare_submission(_written(tmp_path, hop_s=5), {}, is_installed=False) as sent:
        assert {each.name for each in sent.folder.iterdir()} == {
            *("jobs", "models", "pipeline"),
            CONFIG_NAME,
        }
        for package in ("jobs", "models", "pipeline"):
            ours = [each for each in (ROOT / package).rglob("*") if each.is_file()]
            ours = {each.relative_to(ROOT) for each in ours if "__pycache__" not in each.parts}
            files = [each for each in (sent.folder / package).rglob("*") if each.is_file()]
            assert {each.relative_to(sent.folder) for each in files} == ours
        assert (sent.folder / "models/data/audioset.csv").exists()
        assert sent.entrypoint == f"python -m jobs.embed --config {CONFIG_NAME}"
        written = yaml.safe_load((sent.folder / CONFIG_NAME).read_text())
        assert written == CONFIG | {"hop_s": 5, "address": "auto"}
        assert sent.notes == ()
    assert not sent.folder.exists()


def test_an_image_that_has_passtream_gets_the_settings_alone(tmp_path):
    with prepare_submission(_written(tmp_path), {"A": "1"}, is_installed=True) as sent:
        assert [each.name for each in sent.folder.iterdir()] == [CONFIG_NAME]
        assert sent.entrypoint == f"passtream embed --config {CONFIG_NAME}"
        assert sent.env == {"RAY_JOB_STOP_WAIT_TIME_S": "30", "A": "1"}


def test_all_settings_arrive_as_they_were_meant(tmp_path):
    path = _written(
        tmp_path,
        tables="windows,timestamps",
        include=["*.wav", "a/*"],
        actors=3,
        storage_options={"key": "k", "client_kwargs": {"region_name": "eu"}},
    )
    meant = load_config(path, {"address": "auto"})
    with prepare_submission(path, {}, is_installed=True) as sent:
        assert load_config(sent.folder / CONFIG_NAME, {}) == meant


def test_credentials_are_in_the_file_alone(tmp_path):
    sources = [f"https://u:{SECRET}@host/a.wav", *(f"s3://corpus/{n}" for n in range(9))]
    options = {"secret": SECRET}
    digests = set()
    for each in (options, {"secret": "another"}):
        path = _written(tmp_path, sources=sources, storage_options=each)
        with prepare_submission(path, {}, is_installed=False) as sent:
            shown = f"{sent.entrypoint} {dict(sent.metadata)} {sent.notes} {dict(sent.env)}"
            assert SECRET not in shown
            assert str(each["secret"]) in (sent.folder / CONFIG_NAME).read_text()
            digests.add(sent.metadata["config_sha256"])
            assert sent.metadata["table"] == "s3://tables/t"
            assert sent.metadata["sources"].endswith("s3://corpus/3 and 5 more")
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"in_process": True}, "in_process runs without Ray"),
        ({"address": "local"}, r"got address 'local'\); leave it out"),
        ({"address": "10.0.0.1:6379"}, "got address"),
        ({"sources": ["-"]}, "a job has no standard input"),
        ({"sources": ["s3://a", "recordings"]}, "sources 'recordings': a relative path"),
        ({"sources": ["~/recordings"]}, "sources '~/recordings': a relative path"),
        ({"table": "out/t"}, "table 'out/t': a relative path"),
        ({"weights": "w.pt"}, r"weights 'w\.pt': a relative path"),
        ({"hop_s": 0}, "hop_s must be greater than 0"),
        ({"hop": 1}, "unknown setting 'hop'"),
        ({"table": ""}, "SOURCE"),
    ],
)
def test_what_cannot_work_on_a_cluster_is_refused(settings, told, tmp_path):
    path = _written(tmp_path, **settings)
    with pytest.raises(UsageError, match=told), prepare_submission(path, {}, is_installed=False):
        pytest.fail("it was taken")


def test_paths_of_the_cluster_are_told(tmp_path):
    path = _written(tmp_path, table="/data/t", sources=["/data/in", "s3://b"], weights="/w.pt")
    with prepare_submission(path, {}, is_installed=True) as sent:
        assert sent.notes == (
            "paths of the cluster, which all of its nodes have to see: /data/in, /data/t, /w.pt",
        )


def test_variables_are_given_or_handed_on(monkeypatch):
    monkeypatch.setenv("HERE", "a=b")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert parse_env(["HERE", "X=1", "Y=", "Z=p=q"]) == {
        "HERE": "a=b",
        "X": "1",
        "Y": "",
        "Z": "p=q",
    }
    for wrong, told in (
        ("NOWHERE", "this environment has no NOWHERE"),
        ("=x", "must be NAME=VALUE"),
        ("A-B=x", "must be NAME=VALUE"),
    ):
        with pytest.raises(UsageError, match=told):
            parse_env([wrong])


def test_settings_that_are_sent_are_readable_by_their_owner_alone_and_differ_in_each_job(tmp_path):
    path = _written(tmp_path)
    texts = set()
    for _ in range(2):
        with prepare_submission(path, {}, is_installed=True) as sent:
            assert (sent.folder / CONFIG_NAME).stat().st_mode & 0o777 == 0o600
            texts.add((sent.folder / CONFIG_NAME).read_text())
    # Ray hands on the folder of an earlier job with the same content, where they are removed.
    assert len(texts) == 2


def test_settings_that_were_sent_are_removed_and_those_of_a_person_stay(tmp_path, monkeypatch):
    path = _written(tmp_path)
    with prepare_submission(path, {}, is_installed=True) as sent:
        monkeypatch.chdir(sent.folder)
        forget_config()
        assert not (sent.folder / CONFIG_NAME).exists()
        forget_config()  # by another process of the job
    own = path.rename(tmp_path / CONFIG_NAME)
    forget_config(own)
    assert own.exists()


def test_rays_own_submit_leaves_secrets_of_a_checkout_at_home(tmp_path):
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, tmp_path)
    secret = [".env", ".env.local", "prod.env", ".netrc", ".aws/credentials", ".ssh/id_ed25519"]
    secret += ["a.pem", "sub/b.key", "token", "sub/x.token", ".kube/config", ".git/config"]
    sent = ["nightly.yaml", "jobs/cli/main.py", "models/data/audioset.csv", "pipeline/keys.py"]
    for name in secret + sent:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    package = tmp_path.parent / f"{tmp_path.name}.zip"
    create_package(str(tmp_path), package, include_gitignore=True)
    with zipfile.ZipFile(package) as packed:
        names = {name for name in packed.namelist() if not name.endswith("/")}
    assert names - {".gitignore", ".rayignore"} == set(sent)
