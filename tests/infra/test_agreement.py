"""Values that occur in several files of `infra` are the same in all of them."""

import json
import re
import tomllib

import pytest
import yaml

from jobs.runtime.stop_signals import GRACE_S
from tests.infra.kustomize import build, find
from tests.support import ROOT

INFRA = ROOT / "infra"
KUBERAY = INFRA / "kuberay"
DOCKERFILE = (INFRA / "Dockerfile").read_text()
PAGE = (INFRA / "README.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BASE = build(KUBERAY / "base")
RUN = find(BASE, "RayJob", "passtream")["spec"]
CLUSTER = RUN["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
PODS = [group["template"]["spec"] for group in GROUPS]
LAUNCHER = yaml.safe_load((INFRA / "aws" / "cluster.yaml").read_text())
# Time that a run takes to stop: GRACE_S for shards in flight, and as long again to end.
STOPS_WITHIN_S = 2 * GRACE_S


def ports(pod):
    return {each["name"]: each["containerPort"] for each in pod["containers"][0]["ports"]}


def test_files_name_the_same_versions():
    locked = (INFRA / "requirements.lock").read_text()
    hashes = (INFRA / "requirements.hashes").read_text()
    assert f"\nray=={CLUSTER['rayVersion']} --hash=sha256:" in hashes
    assert f"\nray=={CLUSTER['rayVersion']}\n" in locked
    assert f"ARG VERSION={VERSION}\n" in DOCKERFILE
    assert len(set(re.findall(r"--version (\S+)", PAGE))) == 1


def test_files_name_the_same_images():
    kinds = {"gpu": f"{VERSION}-gpu", "cpu": VERSION}
    for pod in PODS:
        (container,) = pod["containers"]
        needs_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
        name, _, tag = container["image"].rpartition(":")
        assert name.endswith("/passtream-gpu" if needs_gpu else "/passtream")
        assert tag == kinds["gpu" if needs_gpu else "cpu"]
    cron_job = yaml.safe_load((KUBERAY / "components" / "nightly" / "cronjob.yaml").read_text())
    starter = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert starter["containers"][0]["image"] == PODS[0]["containers"][0]["image"]
    for target, tag in kinds.items():
        for text in (DOCKERFILE, PAGE):
            assert re.search(rf"--target {target} -t \S+/passtream:{re.escape(tag)} ", text)
    assert f"passtream:{VERSION}-gpu" in PAGE


def test_image_and_pods_have_the_same_user():
    (user,) = set(re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.M))
    assert f"--uid {user} " in DOCKERFILE
    for pod in PODS:
        assert str(pod["securityContext"]["runAsUser"]) == user
        assert str(pod["securityContext"]["runAsGroup"]) == user


def test_files_name_the_same_ports():
    for group, pod in zip(GROUPS, PODS, strict=True):
        assert str(ports(pod)["metrics"]) == group["rayStartParams"]["metrics-export-port"]
    policy = find(BASE, "NetworkPolicy", "passtream-ray")["spec"]
    allowed = {
        rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: {
            port["port"] for port in rule["ports"]
        }
        for rule in policy["ingress"]
        if "ports" in rule
    }
    head = ports(PODS[0])
    assert allowed == {"kuberay-system": {head["dashboard"]}, "monitoring": {head["metrics"]}}
    assert set(re.findall(r"--namespace (\S+)", PAGE)) == {"kuberay-system"}
    monitor = find(build(INFRA / "monitoring"), "PodMonitor", "passtream")["spec"]
    assert monitor["selector"] == policy["podSelector"]
    assert {each["port"] for each in monitor["podMetricsEndpoints"]} <= set(head)
    for line in (LAUNCHER["head_start_ray_commands"], LAUNCHER["worker_start_ray_commands"]):
        assert f"--metrics-export-port={head['metrics']}" in line[-1]
    assert f"http://127.0.0.1:{head['dashboard']}" in PAGE


@pytest.mark.parametrize("folder", ["base", "example/run"])
def test_ray_job_waits_long_enough_for_a_run_to_stop(folder):
    run = find(build(KUBERAY / folder), "RayJob", "passtream")["spec"]
    env = yaml.safe_load(run["runtimeEnvYAML"])["env_vars"]
    wait_s = float(env["RAY_JOB_STOP_WAIT_TIME_S"])
    # jobs/runtime/stop_signals.py waits a third of it for shards in flight.
    assert wait_s / 3 >= GRACE_S
    assert wait_s > STOPS_WITHIN_S
    assert "PASSTREAM_MODELS" in env


def test_pods_live_for_as_long_as_a_run_takes_to_stop():
    for pod in PODS:
        command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        (waits_s,) = re.findall(r"second < (\d+)|^(\d+)$", command[-1])
        seconds = int("".join(waits_s))
        assert STOPS_WITHIN_S < seconds < pod["terminationGracePeriodSeconds"]


def test_service_account_and_role_have_the_same_names_everywhere():
    account = find(BASE, "ServiceAccount", "passtream")["metadata"]
    trust = json.loads((INFRA / "aws" / "pod-trust-policy.json").read_text())
    (statement,) = trust["Statement"]
    subject = statement["Condition"]["StringEquals"]["OIDC_PROVIDER:sub"]
    assert subject == f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert {pod["serviceAccountName"] for pod in PODS} == {account["name"]}
    role = account["annotations"]["eks.amazonaws.com/role-arn"].rpartition("/")[2]
    assert f"--role-name {role} " in PAGE
    launcher = json.loads((INFRA / "aws" / "launcher-policy.json").read_text())["Statement"]
    (passed,) = (each for each in launcher if each["Action"] == "iam:PassRole")
    assert passed["Resource"].endswith(f":role/{role}")
    (ended,) = (each for each in launcher if each["Action"] == "ec2:TerminateInstances")
    names = ended["Condition"]["StringEquals"]
    assert names == {"aws:ResourceTag/ray-cluster-name": LAUNCHER["cluster_name"]}
