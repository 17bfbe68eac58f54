"""Builds the objects of a kustomization as `kubectl kustomize` does.

Supports the features that `infra` uses, and refuses all others. Where kubectl is installed,
`test_kuberay` compares the results of both.
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
    """Build the objects of a folder's kustomization."""
    return _apply(folder, [])


def find(objects: list[Object], kind: str, name: str) -> Object:
    """Return the only object with this kind and name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
    return found[0]


def _apply(folder: Path, objects: list[Object]) -> list[Object]:
    kustomization = read(folder / "kustomization.yaml")
    assert (kustomization.kind == "Component") == kustomization.apiVersion.endswith("v1alpha1")
    assert not kustomization.configMapGenerator or kustomization.generatorOptions, (
        f"{folder}: names with hashes"
    )
    for name in kustomization.resources:
        path = (folder / name).resolve()
        objects += build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for name in kustomization.components:
        assert read(folder / name / "kustomization.yaml").kind == "Component"
        _apply((folder / name).resolve(), objects)
    for generator in kustomization.configMapGenerator:
        _generate(folder, generator, objects)
    for patch in kustomization.patches:
        target = find(objects, patch.target.kind, patch.target.name)
        changed = jsonpatch.apply_patch(target, yaml.safe_load((folder / patch.path).read_text()))
        objects[objects.index(target)] = changed
    for each in objects:
        _rename_images(each, {image.name: image for image in kustomization.images})
        if kustomization.namespace and each["kind"] != "Namespace":
            each["metadata"]["namespace"] = kustomization.namespace
            for subject in each.get("subjects", []):
                subject["namespace"] = kustomization.namespace
    for replacement in kustomization.replacements:
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
            parent = find(objects, target.select.kind, target.select.name)
            for key in parents:
                parent = parent[key]
            parent[last] = copy.deepcopy(value)


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
