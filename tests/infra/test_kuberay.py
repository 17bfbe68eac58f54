"""What the kustomizations make, held against the fields and the rules of what takes it."""

import copy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tests.infra.kubernetes_objects import checked
from tests.infra.kustomized import build, find
from tests.support import ROOT

KUBERAY = ROOT / "infra" / "kuberay"
MONITORING = ROOT / "infra" / "monitoring"
COMPONENTS = {KUBERAY / "components" / name for name in ("nightly", "nightly-raycronjob")}
FOLDERS = sorted(
    {path.parent for path in (ROOT / "infra").rglob("kustomization.yaml")} - COMPONENTS
)
folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))


def all_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@folders
def test_objects_have_known_fields_only(folder):
    found = checked(build(folder))
    assert found
    assert all(each.metadata.namespace == "passtream" for each in found.values())


@folders
def test_kubectl_makes_the_same(folder):
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(done.stdout)}
    assert theirs == {(o["kind"], o["metadata"]["name"]): o for o in build(folder)}


def test_components_are_used_and_every_file_is_named():
    used = {
        (folder / name).resolve()
        for folder in FOLDERS
        for name in yaml.safe_load((folder / "kustomization.yaml").read_text()).get(
            "components", []
        )
    }
    assert used == COMPONENTS
    for path in all_files(KUBERAY) - set(KUBERAY.rglob("kustomization.yaml")):
        assert path.name in (path.parent / "kustomization.yaml").read_text(), path


# Where a misspelt field would be taken in silence by a cluster, or cost a run.
MISSPELT = [
    ("RayJob", ("spec", "ttlSecondsAfterFinish")),
    ("RayJob", ("spec", "rayClusterSpec", "enableInTreeAutoscaler")),
    ("RayJob", ("spec", "rayClusterSpec", "autoscalerOptions", "idleTimeoutSecond")),
    ("RayJob", ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplica")),
    ("RayJob", ("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "toleration")),
    ("NetworkPolicy", ("spec", "ingres")),
    ("ServiceAccount", ("annotations",)),
]


@pytest.mark.parametrize(("kind", "path"), MISSPELT, ids=lambda value: str(value))
def test_a_misspelt_field_is_refused(kind, path):
    objects = build(KUBERAY / "base")
    (target,) = (each for each in objects if each["kind"] == kind)
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = 1
    with pytest.raises(ValidationError, match=path[-1]):
        checked(objects)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shutdownAfterJobFinishes", False),  # with a time to live
        ("submissionMode", "InteractiveMode"),  # with retries
        ("activeDeadlineSeconds", "86400"),
        ("runtimeEnvYAML", "text"),
    ],
)
def test_what_the_operator_refuses_is_refused(field, value):
    objects = build(KUBERAY / "base")
    find(objects, "RayJob", "passtream")["spec"][field] = value
    with pytest.raises(ValidationError):
        checked(objects)


def test_a_patch_of_what_is_not_there_is_refused(tmp_path):
    shutil.copytree(KUBERAY, tmp_path / "kuberay")
    patch = tmp_path / "kuberay" / "overlays" / "spot" / "nodes.yaml"
    patch.write_text(patch.read_text().replace("value: decoders", "value: others"))
    with pytest.raises(Exception, match="decoders"):
        build(patch.parent)
    patch.write_text("- {op: replace, path: /spec/noSuchField, value: 1}\n")
    with pytest.raises(Exception, match="noSuchField"):
        build(patch.parent)


def run_of(folder: str):
    return find(build(KUBERAY / folder), "RayJob", "passtream")["spec"]["rayClusterSpec"]


def test_workers_are_where_the_overlay_says_and_the_head_is_never_on_spot_nodes():
    for overlay, kind in (("on-demand", "on-demand"), ("spot", "spot")):
        cluster = run_of(f"overlays/{overlay}")
        head = cluster["headGroupSpec"]["template"]["spec"]
        assert head["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
        for group in cluster["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            assert pod["nodeSelector"] == {"karpenter.sh/capacity-type": kind}
            keys = {each["key"] for each in pod.get("tolerations", [])}
            assert ("cloud.google.com/gke-spot" in keys) == (overlay == "spot")
            assert ("nvidia.com/gpu" in keys) == (group["groupName"] == "gpu")


def test_scheduled_runs_are_copies_of_the_one_that_is_suspended():
    for folder in ("example/nightly", "example/nightly-raycronjob"):
        objects = build(KUBERAY / folder)
        job = find(objects, "RayJob", "passtream")["spec"]
        assert job["suspend"] is True
        # Shorter than from one night to the next.
        assert job["activeDeadlineSeconds"] < 24 * 3600
    cron = find(objects, "RayCronJob", "passtream-nightly")["spec"]
    copied = copy.deepcopy(cron["jobTemplate"])
    assert copied.pop("suspend") is False
    assert copied == {name: value for name, value in job.items() if name != "suspend"}


def test_a_role_names_what_start_run_does():
    objects = build(KUBERAY / "example" / "nightly")
    rules = find(objects, "Role", "passtream-nightly")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "create"}
    binding = find(objects, "RoleBinding", "passtream-nightly")
    job = find(objects, "CronJob", "passtream-nightly")["spec"]["jobTemplate"]["spec"]
    names = {each["name"] for each in binding["subjects"]}
    assert names == {job["template"]["spec"]["serviceAccountName"]}
