"""Models of KubeRay 1.7's RayJob and RayCronJob: the fields that `infra` uses, and their rules.

The rules are from KubeRay's API reference and from the checks of its operator.
"""

from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from tests.infra.kubernetes_pods import (
    ContainerSecurity,
    Metadata,
    PodTemplate,
    Resources,
    VolumeMount,
)
from tests.infra.kustomize import Strict

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class RayMetadata(Metadata):
    """Metadata whose name is a DNS-1035 label, short enough for the suffixes of the operator."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47)]


class AuthOptions(Strict):
    mode: Literal["disabled", "token"]


class AutoscalerOptions(Strict):
    version: Literal["v1", "v2"]
    upscalingMode: Literal["Default", "Aggressive", "Conservative"]
    idleTimeoutSeconds: Count
    resources: Resources
    securityContext: ContainerSecurity
    volumeMounts: list[VolumeMount] = Field(default_factory=list)


class HeadGroup(Strict):
    rayStartParams: dict[str, str]
    template: PodTemplate


class WorkerGroup(HeadGroup):
    groupName: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    replicas: Count
    minReplicas: Count
    maxReplicas: Count
    idleTimeoutSeconds: Count | None = None

    @model_validator(mode="after")
    def _check_replicas(self) -> "WorkerGroup":
        assert self.minReplicas <= self.replicas <= self.maxReplicas
        return self


class RayClusterSpec(Strict):
    rayVersion: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool
    autoscalerOptions: AutoscalerOptions
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup]

    @model_validator(mode="after")
    def _check_autoscaler(self) -> "RayClusterSpec":
        names = [group.groupName for group in self.workerGroupSpecs]
        assert len(names) == len(set(names))
        for group in (self.headGroupSpec, *self.workerGroupSpecs):
            # Autoscaler v2 replaces a failed pod itself, and permits no other restart policy.
            assert group.template.spec.restartPolicy in (None, "Never")
        # The autoscaler runs as a container of the head's pod, and mounts its volumes.
        volumes = {each.name for each in self.headGroupSpec.template.spec.volumes}
        assert {each.name for each in self.autoscalerOptions.volumeMounts} <= volumes
        if self.autoscalerOptions.version != "v2":
            assert all(group.idleTimeoutSeconds is None for group in self.workerGroupSpecs)
        return self


class RayJobSpec(Strict):
    entrypoint: Annotated[str, Field(min_length=1)]
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
    runtimeEnvYAML: str
    backoffLimit: Count
    preRunningDeadlineSeconds: Positive
    activeDeadlineSeconds: Positive
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: Count
    suspend: bool = False
    rayClusterSpec: RayClusterSpec

    @model_validator(mode="after")
    def _check_as_operator_does(self) -> "RayJobSpec":
        needs_shutdown = self.suspend or self.ttlSecondsAfterFinished > 0
        assert self.shutdownAfterJobFinishes or not needs_shutdown
        assert self.submissionMode != "InteractiveMode" or not self.backoffLimit
        assert isinstance(yaml.safe_load(self.runtimeEnvYAML), dict)
        return self


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: RayMetadata
    spec: RayJobSpec


class RayCronJobSpec(Strict):
    """Spec of a RayCronJob, alpha since KubeRay 1.6; `timeZone` exists since 1.7."""

    schedule: Annotated[str, Field(pattern=r"^(\S+ ){4}\S+$")]
    timeZone: Annotated[str, Field(min_length=1)]
    suspend: bool
    jobTemplate: RayJobSpec


class RayCronJob(Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCronJob"]
    metadata: RayMetadata
    spec: RayCronJobSpec
