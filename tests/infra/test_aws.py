"""Ray's schema accepts the launcher's YAML, and the IAM policies allow exactly what runs do."""

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
# Allowed actions of each policy, and the reason for each.
ACTIONS = {
    "data-policy.json": {
        "s3:ListBucket": "listings of sources, of a table's commits and leases",
        "s3:GetObject": "recordings, weights, commit records, rows",
        "s3:PutObject": "rows, commit records, leases; uploads in parts",
        "s3:DeleteObject": "leases, half-written files of killed runs, --prune",
        "s3:AbortMultipartUpload": "an upload that failed",
    },
    "launcher-policy.json": {
        "ec2:DescribeInstances": "the autoscaler's view of its nodes",
        "ec2:DescribeInstanceTypes": "their CPUs and memory",
        "ec2:RunInstances": "new nodes",
        "ec2:CreateTags": "tags by which nodes are found again",
        "ec2:TerminateInstances": "nodes that are idle",
        "iam:PassRole": "role with which workers reach the bucket",
    },
    "pod-trust-policy.json": {"sts:AssumeRoleWithWebIdentity": "IAM roles for service accounts"},
}
# Actions for which EC2 supports no narrower resource than `*`.
WITHOUT_RESOURCE = {"ec2:DescribeInstances", "ec2:DescribeInstanceTypes"}


def cluster():
    return yaml.safe_load((AWS / "cluster.yaml").read_text())


def validate_with_ray(config):
    filled = fillout_defaults(copy.deepcopy(config))
    validate_config(filled)
    return filled


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_ray_accepts_the_cluster():
    jsonschema.validate(cluster(), SCHEMA)
    filled = validate_with_ray(cluster())
    assert filled["head_node_type"] in filled["available_node_types"]


def broken_cluster(change):
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
def test_rays_schema_refuses_a_broken_cluster(change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken_cluster(change), SCHEMA)


def test_ray_refuses_an_unknown_node_type():
    with pytest.raises(ValueError, match="head_node_type"):
        validate_with_ray(broken_cluster(lambda config: config.update(head_node_type="other")))


def test_cluster_mounts_and_installs_only_the_needed_files_of_a_checkout():
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
    # The metadata service answers late if many processes request a role's credentials at once.
    assert all("AWS_METADATA_SERVICE_NUM_ATTEMPTS=8" in line for line in starts)


def test_every_policy_file_has_expected_actions():
    assert {path.name for path in AWS.glob("*.json")} == set(ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_policy_allows_exactly_the_expected_actions(name):
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
            assert actions <= WITHOUT_RESOURCE
        else:
            assert all(each.startswith("arn:aws:") for each in resources)
    assert allowed == set(ACTIONS[name])


def test_run_may_write_only_to_its_table():
    policy = json.loads((AWS / "data-policy.json").read_text())
    writes = {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
    for statement in policy["Statement"]:
        resources, actions = as_list(statement["Resource"]), set(as_list(statement["Action"]))
        if actions & writes:
            assert resources == ["arn:aws:s3:::TABLE_BUCKET/embeddings/*"]
        if "s3:ListBucket" in actions:
            # The action applies to buckets, not to objects, and the condition limits the prefix.
            assert all("/" not in each.removeprefix("arn:aws:s3:::") for each in resources)
            assert statement["Condition"]["StringLike"]["s3:prefix"]
    settings = yaml.safe_load((AWS / "embed.yaml").read_text())
    assert settings["table"] == "s3://TABLE_BUCKET/embeddings"
    assert settings["sources"] == ["s3://SOURCE_BUCKET/recordings"]


def test_launcher_may_tag_and_terminate_only_instances_of_its_own_cluster():
    name = cluster()["cluster_name"]
    policy = json.loads((AWS / "launcher-policy.json").read_text())["Statement"]
    statements = [
        each
        for each in policy
        if any(":instance/" in resource for resource in as_list(each["Resource"]))
    ]
    assert {action for each in statements for action in as_list(each["Action"])} == {
        "ec2:RunInstances",
        "ec2:CreateTags",
        "ec2:TerminateInstances",
    }
    for each in statements:
        wanted = each["Condition"]["StringEquals"]
        tags = {key: value for key, value in wanted.items() if key.endswith("/ray-cluster-name")}
        assert set(tags.values()) == {name}
        if each["Action"] == "ec2:CreateTags" and "aws:RequestTag/ray-cluster-name" in tags:
            # An instance gets the tag that permits its termination only when it is created.
            assert wanted["ec2:CreateAction"] == "RunInstances"
        elif each["Action"] == "ec2:CreateTags":
            kept = each["Condition"]["ForAllValues:StringNotEquals"]["aws:TagKeys"]
            assert kept == ["ray-cluster-name"]
