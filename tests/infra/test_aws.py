"""The launcher's YAML against Ray's own schema, and the IAM policies against what runs do."""

import copy
import fnmatch
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import fillout_defaults, validate_config

from tests.support import ROOT

AWS = ROOT / "infra" / "aws"
SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
# Why each is needed, and by whom.
ACTIONS = {
    "data-policy.json": {
        "s3:ListBucket": "listings of sources, of a table's commits and leases",
        "s3:GetObject": "recordings, weights, commit records, rows",
        "s3:PutObject": "rows, commit records, leases; uploads in parts",
        "s3:DeleteObject": "leases, what a killed run left half-written, --prune",
        "s3:AbortMultipartUpload": "an upload that failed",
    },
    "launcher-policy.json": {
        "ec2:DescribeInstances": "the autoscaler's view of its nodes",
        "ec2:DescribeInstanceTypes": "their CPUs and memory",
        "ec2:RunInstances": "new nodes",
        "ec2:CreateTags": "how nodes are found again",
        "ec2:TerminateInstances": "nodes that are idle",
        "iam:PassRole": "workers reach the bucket",
    },
    "pod-trust-policy.json": {"sts:AssumeRoleWithWebIdentity": "IAM roles for service accounts"},
}
# EC2 knows no narrower resource for these.
EVERYWHERE = {"ec2:DescribeInstances", "ec2:DescribeInstanceTypes"}


def cluster():
    return yaml.safe_load((AWS / "cluster.yaml").read_text())


def checked_by_ray(config):
    filled = fillout_defaults(copy.deepcopy(config))
    validate_config(filled)
    return filled


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_ray_takes_the_cluster():
    jsonschema.validate(cluster(), SCHEMA)
    filled = checked_by_ray(cluster())
    assert filled["head_node_type"] in filled["available_node_types"]


def broken(change):
    config = cluster()
    change(config)
    return config


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.update(idle_timeout_minute=1),
        lambda config: config.update(max_workers="5"),
        lambda config: config["provider"].pop("type"),
        lambda config: config["available_node_types"]["gpu"].update(max_worker=1),
        lambda config: config["available_node_types"]["gpu"].pop("node_config"),
    ],
)
def test_rays_schema_refuses_a_broken_one(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken(change), SCHEMA)


def test_ray_refuses_nodes_that_are_not_described():
    with pytest.raises(ValueError, match="head_node_type"):
        checked_by_ray(broken(lambda config: config.update(head_node_type="other")))


def test_what_the_cluster_mounts_and_installs_is_there_and_nothing_else_of_a_checkout():
    config = cluster()
    home = "/home/ubuntu/passtream/"
    mounted = {
        there.removeprefix(home): here
        for there, here in config["file_mounts"].items()
        if there.startswith(home)
    }
    assert all(there == here for there, here in mounted.items())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    setuptools = project["tool"]["setuptools"]
    installed = {name.rstrip("*") for name in setuptools["packages"]["find"]["include"]}
    installed |= {f"{name}.py" for name in setuptools["py-modules"]}
    installed |= {project["project"]["readme"], *project["project"]["license-files"]}
    assert set(mounted) == installed | {"pyproject.toml", "infra/requirements.lock"}
    assert all((ROOT / each).exists() for each in mounted)
    left_out = config["rsync_exclude"]
    for secret in (".env", ".env.local", "prod.env", "a.pem", "b.key", ".netrc", ".aws"):
        assert any(fnmatch.fnmatch(secret, pattern) for pattern in left_out), secret
    assert (ROOT / "infra" / "requirements.lock").exists()
    installs = [line for line in config["setup_commands"] if "/pip install" in line]
    installs += config["head_setup_commands"]
    assert all("-c /home/ubuntu/passtream/infra/requirements.lock" in line for line in installs)
    starts = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert all("RAY_AUTH_MODE=token" in line for line in starts)
    # A role's credentials come late where many processes ask for them at once.
    assert all("AWS_METADATA_SERVICE_NUM_ATTEMPTS=8" in line for line in starts)


def test_all_policies_are_known():
    assert {path.name for path in AWS.glob("*.json")} == set(ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_policy_allows_what_is_needed_and_no_more(name):
    policy = json.loads((AWS / name).read_text())
    assert set(policy) == {"Version", "Statement"}
    assert policy["Version"] == "2012-10-17"
    allowed = set()
    for statement in policy["Statement"]:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
        assert statement["Effect"] == "Allow"
        actions = set(as_list(statement["Action"]))
        allowed |= actions
        assert ("Principal" in statement) != ("Resource" in statement)
        resources = as_list(statement.get("Resource", []))
        if "*" in resources:
            assert actions <= EVERYWHERE
        else:
            assert all(each.startswith("arn:aws:") for each in resources)
    assert allowed == set(ACTIONS[name])


def test_a_run_reads_its_source_and_writes_its_table_alone():
    policy = json.loads((AWS / "data-policy.json").read_text())
    writes = {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
    for statement in policy["Statement"]:
        resources, actions = as_list(statement["Resource"]), set(as_list(statement["Action"]))
        if actions & writes:
            assert resources == ["arn:aws:s3:::TABLE_BUCKET/embeddings/*"]
        if "s3:ListBucket" in actions:
            # Of buckets, not of objects, and below what prefix.
            assert all("/" not in each.removeprefix("arn:aws:s3:::") for each in resources)
            assert statement["Condition"]["StringLike"]["s3:prefix"]
    settings = yaml.safe_load((AWS / "embed.yaml").read_text())
    assert settings["table"] == "s3://TABLE_BUCKET/embeddings"
    assert settings["sources"] == ["s3://SOURCE_BUCKET/recordings"]


def test_the_launcher_tags_and_ends_instances_of_its_own_cluster_alone():
    name = cluster()["cluster_name"]
    policy = json.loads((AWS / "launcher-policy.json").read_text())["Statement"]
    of_instances = [
        each
        for each in policy
        if any(":instance/" in resource for resource in as_list(each["Resource"]))
    ]
    assert {action for each in of_instances for action in as_list(each["Action"])} == {
        "ec2:RunInstances",
        "ec2:CreateTags",
        "ec2:TerminateInstances",
    }
    for each in of_instances:
        wanted = each["Condition"]["StringEquals"]
        tags = {key: value for key, value in wanted.items() if key.endswith("/ray-cluster-name")}
        assert set(tags.values()) == {name}
        if each["Action"] == "ec2:CreateTags" and "aws:RequestTag/ray-cluster-name" in tags:
            # The tag that allows to end an instance is given to one that is just being made.
            assert wanted["ec2:CreateAction"] == "RunInstances"
        elif each["Action"] == "ec2:CreateTags":
            kept = each["Condition"]["ForAllValues:StringNotEquals"]["aws:TagKeys"]
            assert kept == ["ray-cluster-name"]
