"""A kustomization to the objects that it makes, for the features that `infra` uses.

Reads what `kubectl kustomize` reads and refuses what it does not know; where there is a kubectl,
`test_kuberay` holds the two against each other.
"""

import copy
from pathlib import Path
from typing import Any, Literal

import jsonpatch
import yaml
from pydantic import BaseModel, ConfigDict, Field

Object = dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Target(Strict):
    kind: str
    name: str


class Patch(Strict):
    target: Target
    path: str


class ImageName(Strict):
    name: str
    newName: str
    digest: str


class GeneratorLabels(Strict):
    labels: dict[str, str]


class ConfigMapGenerator(Strict):
    name: str
    files: list[str]
    behavior: Literal["create", "replace"] = "create"
    options: GeneratorLabels | None = None


class GeneratorOptions(Strict):
    disableNameSuffixHash: Literal[True]


class Source(Target):
    fieldPath: str


class ReplacementTarget(Strict):
    select: Target
    fieldPaths: list[str]


class Replacement(Strict):
    source: Source
    targets: list[ReplacementTarget]


class Kustomization(Strict):
    apiVersion: Literal["kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1alpha1"]
    kind: Literal["Kustomization", "Component"]
    namespace: str = ""
    resources: list[str] = Field(default_factory=list)
    components: list[str] = Field(default_factory=list)
    configMapGenerator: list[ConfigMapGenerator] = Field(default_factory=list)
    generatorOptions: GeneratorOptions | None = None
    images: list[ImageName] = Field(default_factory=list)
    patches: list[Patch] = Field(default_factory=list)
    replacements: list[Replacement] = Field(default_factory=list)


def read(path: Path) -> Kustomization:
    return Kustomization.model_validate(yaml.safe_load(path.read_text()))


def build(folder: Path) -> list[Object]:
    """The objects of a folder's kustomization."""
    return _applied(folder, [])


def find(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
    return found[0]


def _applied(folder: Path, objects: list[Object]) -> list[Object]:
    told = read(folder / "kustomization.yaml")
    assert (told.kind == "Component") == told.apiVersion.endswith("v1alpha1")
    assert not told.configMapGenerator or told.generatorOptions, f"{folder}: names with hashes"
    for name in told.resources:
        path = (folder / name).resolve()
        objects += build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for name in told.components:
        assert read(folder / name / "kustomization.yaml").kind == "Component"
        _applied((folder / name).resolve(), objects)
    for generator in told.configMapGenerator:
        _generate(folder, generator, objects)
    for patch in told.patches:
        target = find(objects, patch.target.kind, patch.target.name)
        changed = jsonpatch.apply_patch(target, yaml.safe_load((folder / patch.path).read_text()))
        objects[objects.index(target)] = changed
    for each in objects:
        _rename_images(each, {image.name: image for image in told.images})
        if told.namespace and each["kind"] != "Namespace":
            each["metadata"]["namespace"] = told.namespace
            for subject in each.get("subjects", []):
                subject["namespace"] = told.namespace
    for replacement in told.replacements:
        _replace(replacement, objects)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names)), f"{folder}: an object twice: {names}"
    return objects


def _generate(folder: Path, generator: ConfigMapGenerator, objects: list[Object]) -> None:
    data = {Path(name).name: (folder / name).read_text() for name in generator.files}
    if generator.behavior == "replace":
        find(objects, "ConfigMap", generator.name)["data"] = data
        return
    metadata: Object = {"name": generator.name}
    if generator.options:
        metadata["labels"] = generator.options.labels
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _replace(replacement: Replacement, objects: list[Object]) -> None:
    source = replacement.source
    value = find(objects, source.kind, source.name)
    for key in source.fieldPath.split("."):
        value = value[key]
    for target in replacement.targets:
        for path in target.fieldPaths:
            *parents, last = path.split(".")
            place = find(objects, target.select.kind, target.select.name)
            for key in parents:
                place = place[key]
            place[last] = copy.deepcopy(value)


def _rename_images(value: Any, names: dict[str, ImageName]) -> None:
    if isinstance(value, list):
        for each in value:
            _rename_images(each, names)
    elif isinstance(value, dict):
        for container in value.get("containers", []):
            if renamed := names.get(container["image"].rpartition(":")[0]):
                container["image"] = f"{renamed.newName}@{renamed.digest}"
        for each in value.values():
            _rename_images(each, names)
