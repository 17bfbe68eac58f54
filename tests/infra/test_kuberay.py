"""The objects of the kustomizations have the fields, and follow the rules, of their consumers."""

import copy
import json
import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tests.infra.kubernetes_objects import validate_objects
from tests.infra.kustomize import build, find
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
    found = validate_objects(build(folder))
    assert found
    for (kind, _), each in found.items():
        namespace = each.metadata.name if kind == "Namespace" else each.metadata.namespace
        assert namespace == "passtream"


@folders
def test_kubectl_builds_the_same_objects(folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    by_kubectl = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(done.stdout)}
    assert by_kubectl == {(o["kind"], o["metadata"]["name"]): o for o in build(folder)}


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


# Misspelt fields that a cluster would ignore silently, or that would make a run fail.
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
    target = next(each for each in objects if each["kind"] == kind)
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = 1
    with pytest.raises(ValidationError, match=path[-1]):
        validate_objects(objects)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shutdownAfterJobFinishes", False),  # with a time to live
        ("submissionMode", "InteractiveMode"),  # with retries
        ("activeDeadlineSeconds", "86400"),
        ("runtimeEnvYAML", "text"),
    ],
)
def test_values_that_the_operator_refuses_are_refused(field, value):
    objects = build(KUBERAY / "base")
    find(objects, "RayJob", "passtream")["spec"][field] = value
    with pytest.raises(ValidationError):
        validate_objects(objects)


def test_patch_of_a_missing_field_is_refused(tmp_path):
    shutil.copytree(KUBERAY, tmp_path / "kuberay")
    patch = tmp_path / "kuberay" / "overlays" / "spot" / "nodes.yaml"
    patch.write_text(patch.read_text().replace("value: decoders", "value: others"))
    with pytest.raises(Exception, match="decoders"):
        build(patch.parent)
    patch.write_text("- {op: replace, path: /spec/noSuchField, value: 1}\n")
    with pytest.raises(Exception, match="noSuchField"):
        build(patch.parent)


def build_cluster_spec(folder: str):
    return find(build(KUBERAY / folder), "RayJob", "passtream")["spec"]["rayClusterSpec"]


def test_overlay_selects_the_nodes_of_workers_and_the_head_is_always_on_demand():
    for overlay, kind in (("on-demand", "on-demand"), ("spot", "spot")):
        cluster = build_cluster_spec(f"overlays/{overlay}")
        head = cluster["headGroupSpec"]["template"]["spec"]
        assert head["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
        for group in cluster["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            assert pod["nodeSelector"] == {"karpenter.sh/capacity-type": kind}
            keys = {each["key"] for each in pod.get("tolerations", [])}
            assert ("cloud.google.com/gke-spot" in keys) == (overlay == "spot")
            assert ("nvidia.com/gpu" in keys) == (group["groupName"] == "gpu")


def test_scheduled_runs_are_copies_of_the_suspended_run():
    for folder in ("example/nightly", "example/nightly-raycronjob"):
        objects = build(KUBERAY / folder)
        job = find(objects, "RayJob", "passtream")["spec"]
        assert job["suspend"] is True
        # A run ends before the next night.
        assert job["activeDeadlineSeconds"] < 24 * 3600
    cron = find(objects, "RayCronJob", "passtream-nightly")["spec"]
    copied = copy.deepcopy(cron["jobTemplate"])
    assert copied.pop("suspend") is False
    assert copied == {name: value for name, value in job.items() if name != "suspend"}


def test_role_allows_the_requests_of_start_run():
    objects = build(KUBERAY / "example" / "nightly")
    rules = find(objects, "Role", "passtream-nightly")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "create"}
    binding = find(objects, "RoleBinding", "passtream-nightly")
    job = find(objects, "CronJob", "passtream-nightly")["spec"]["jobTemplate"]["spec"]
    names = {each["name"] for each in binding["subjects"]}
    assert names == {job["template"]["spec"]["serviceAccountName"]}


def find_policies(objects, labels):
    """Yield the specs of the network policies that select a pod with these labels."""
    for each in objects:
        if each["kind"] == "NetworkPolicy":
            selected = each["spec"]["podSelector"].get("matchLabels", {})
            if selected.items() <= labels.items():
                yield each["spec"]


def find_egress_ports(objects, labels):
    """Return the ports that a pod with these labels may reach, by address range or peer."""
    found = {}
    for policy in find_policies(objects, labels):
        assert "Egress" in policy["policyTypes"]
        for rule in policy.get("egress", []):
            ports = {each["port"] for each in rule.get("ports", [])}
            for peer in rule["to"]:
                block = peer.get("ipBlock")
                key = block["cidr"] if block else json.dumps(peer, sort_keys=True)
                found.setdefault(key, set()).update(ports or {"all"})
    return found


WORLD = ("0.0.0.0/0", "::/0")
RAY = {"ray.io/is-ray-node": "yes"}


def test_pods_that_decode_reach_only_dns_https_credentials_and_each_other():
    found = find_egress_ports(build(KUBERAY / "base"), RAY | {"ray.io/node-type": "worker"})
    assert {cidr: found.pop(cidr) for cidr in WORLD} == {cidr: {443} for cidr in WORLD}
    assert found.pop('{"podSelector": {}}') == {"all"}
    assert {key: ports for key, ports in found.items() if 53 in ports}.keys() == {
        key for key in found if "kube-dns" in key
    }
    assert {key for key in found if "kube-dns" not in key} == {
        "169.254.170.23/32",
        "fd00:ec2::23/128",
    }


@pytest.mark.parametrize("folder", ["base", "example/run", "example/nightly"])
@pytest.mark.parametrize("labels", [RAY, {"app.kubernetes.io/component": "passtream-nightly"}])
def test_no_pod_reaches_the_metadata_service_of_its_machine(folder, labels):
    metadata = [ip_address("169.254.169.254"), ip_address("fd00:ec2::254")]
    for policy in find_policies(build(KUBERAY / folder), labels | {"ray.io/node-type": "head"}):
        for rule in policy.get("egress", []):
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                open_ = [
                    address
                    for address in metadata
                    if address in ip_network(block["cidr"])
                    and not any(address in ip_network(each) for each in block.get("except", []))
                ]
                assert not open_, (block, rule)


def test_pod_without_a_policy_of_its_own_is_isolated():
    (policy,) = find_policies(build(KUBERAY / "base"), {"app": "other"})
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy["ingress"] + policy["egress"]


def all_pods():
    for folder in ("base", "example/nightly"):
        objects = build(KUBERAY / folder)
        cluster = find(objects, "RayJob", "passtream")["spec"]["rayClusterSpec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            yield group["template"]["spec"]
    cron = find(objects, "CronJob", "passtream-nightly")["spec"]["jobTemplate"]["spec"]
    yield cron["template"]["spec"]


def test_pods_meet_the_restricted_standard_and_write_only_to_volumes():
    (namespace,) = build(KUBERAY / "namespace")
    levels = namespace["metadata"]["labels"]
    assert levels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in all_pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
        kinds = {key for volume in pod["volumes"] for key in volume}
        assert kinds <= {"name", "configMap", "emptyDir"}


def test_pods_of_ray_have_volumes_where_ray_and_passtream_write():
    cluster = find(build(KUBERAY / "base"), "RayJob", "passtream")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        sizes = {each["name"]: each["emptyDir"] for each in pod["volumes"] if "emptyDir" in each}
        (container,) = pod["containers"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        assert {mounts["/tmp"], mounts["/home/passtream"]} == set(sizes)
        limit = container["resources"]["limits"].get("ephemeral-storage")
        in_all = sum(int(each["sizeLimit"].removesuffix("Gi")) for each in sizes.values())
        assert limit is None or in_all <= int(limit.removesuffix("Gi"))


def test_operator_submits_the_job_itself_without_a_submitter_pod():
    for folder in ("base", "overlays/spot", "example/run", "example/nightly"):
        assert find(build(KUBERAY / folder), "RayJob", "passtream")["spec"]["submissionMode"] == (
            "HTTPMode"
        )


def test_runs_name_their_images_by_digest():
    for folder in ("example/run", "example/nightly", "example/nightly-raycronjob"):
        images = re.findall(r"'image': '([^']+)'", str(build(KUBERAY / folder)))
        assert images
        assert all(re.search(r"/passtream@sha256:[CG]PU_DIGEST$", each) for each in images), images
        cluster = find(build(KUBERAY / folder), "RayJob", "passtream")["spec"]["rayClusterSpec"]
        (container,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
        assert container["image"].endswith("GPU_DIGEST")
