"""Tests of `jobs.submit.submission`: what is sent for a config file, and what is refused."""

import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from jobs.settings.load_config import load_config
from jobs.settings.sent_config import CONFIG_NAME, remove_sent_config
from jobs.submit.submission import parse_env, prepare_submission
from pipeline.errors import UsageError
from tests.support import ROOT

SECRET = "do-not-show"
CONFIG = {"sources": ["s3://corpus/a"], "table": "s3://tables/t"}


def _write_config(folder: Path, **settings) -> Path:
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(CONFIG | settings))
    return path


def test_folder_has_our_packages_and_the_settings(tmp_path):
    (tmp_path / "notes.txt").write_text("not for the cluster")
    with prepare_submission(_write_config(tmp_path, hop_s=5), {}, is_installed=False) as sent:
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


def test_installed_passtream_gets_only_the_settings(tmp_path):
    with prepare_submission(_write_config(tmp_path), {"A": "1"}, is_installed=True) as sent:
        assert [each.name for each in sent.folder.iterdir()] == [CONFIG_NAME]
        assert sent.entrypoint == f"passtream embed --config {CONFIG_NAME}"
        assert sent.env == {"RAY_JOB_STOP_WAIT_TIME_S": "30", "A": "1"}


def test_settings_are_the_same_on_the_cluster(tmp_path):
    path = _write_config(
        tmp_path,
        tables="windows,timestamps",
        include=["*.wav", "a/*"],
        actors=3,
        storage_options={"key": "k", "client_kwargs": {"region_name": "eu"}},
    )
    expected = load_config(path, {"address": "auto"})
    with prepare_submission(path, {}, is_installed=True) as sent:
        assert load_config(sent.folder / CONFIG_NAME, {}) == expected


def test_credentials_are_only_in_the_config_file(tmp_path):
    sources = [f"https://u:{SECRET}@host/a.wav", *(f"s3://corpus/{n}" for n in range(9))]
    options = {"secret": SECRET}
    digests = set()
    for each in (options, {"secret": "another"}):
        path = _write_config(tmp_path, sources=sources, storage_options=each)
        with prepare_submission(path, {}, is_installed=False) as sent:
            shown = f"{sent.entrypoint} {dict(sent.metadata)} {sent.notes} {dict(sent.env)}"
            assert SECRET not in shown
            assert str(each["secret"]) in (sent.folder / CONFIG_NAME).read_text()
            digests.add(sent.metadata["config_sha256"])
            assert sent.metadata["table"] == "s3://tables/t"
            assert sent.metadata["sources"].endswith("s3://corpus/3 and 5 more")
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
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
def test_settings_that_cannot_work_on_a_cluster_are_refused(settings, message, tmp_path):
    path = _write_config(tmp_path, **settings)
    with pytest.raises(UsageError, match=message), prepare_submission(path, {}, is_installed=False):
        pytest.fail("the settings were accepted")


def test_paths_on_the_nodes_are_noted(tmp_path):
    path = _write_config(tmp_path, table="/data/t", sources=["/data/in", "s3://b"], weights="/w.pt")
    with prepare_submission(path, {}, is_installed=True) as sent:
        assert sent.notes == (
            "these paths must exist on all nodes of the cluster: /data/in, /data/t, /w.pt",
        )


def test_variables_are_given_or_passed_on(monkeypatch):
    monkeypatch.setenv("HERE", "a=b")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert parse_env(["HERE", "X=1", "Y=", "Z=p=q"]) == {
        "HERE": "a=b",
        "X": "1",
        "Y": "",
        "Z": "p=q",
    }
    for wrong, message in (
        ("NOWHERE", "this environment has no NOWHERE"),
        ("=x", "must be NAME=VALUE"),
        ("A-B=x", "must be NAME=VALUE"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_env([wrong])


def test_sent_settings_are_readable_by_their_owner_and_differ_per_job(tmp_path):
    path = _write_config(tmp_path)
    texts = set()
    for _ in range(2):
        with prepare_submission(path, {}, is_installed=True) as sent:
            assert (sent.folder / CONFIG_NAME).stat().st_mode & 0o777 == 0o600
            texts.add((sent.folder / CONFIG_NAME).read_text())
    # Ray reuses the folder of an earlier job with the same content, and that job has removed the
    # settings from it.
    assert len(texts) == 2


def test_sent_settings_are_removed_and_a_users_own_file_stays(tmp_path, monkeypatch):
    path = _write_config(tmp_path)
    with prepare_submission(path, {}, is_installed=True) as sent:
        monkeypatch.chdir(sent.folder)
        remove_sent_config()
        assert not (sent.folder / CONFIG_NAME).exists()
        remove_sent_config()  # as another process of the job does
    own = path.rename(tmp_path / CONFIG_NAME)
    remove_sent_config(own)
    assert own.exists()


def test_rays_own_submit_does_not_send_secrets_of_a_checkout(tmp_path):
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
