"""Models of a Kubernetes pod, with the fields that `infra` uses and no others.

Names and types are from Kubernetes' API reference. A field of a manifest that fails here is either
a mistake in the manifest, or has to be added here after a look into the reference.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tests.infra.kustomize import Strict

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
"""A DNS-1123 label."""
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
]
Labels = dict[LabelKey, LabelValue]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
# GPU_DIGEST and CPU_DIGEST are placeholders, which the user replaces by digests.
Image = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9_.-]+)+"
        r"(:[A-Za-z0-9_.-]+|@sha256:([0-9a-f]{64}|[CG]PU_DIGEST))$"
    ),
]


class Metadata(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
    namespace: Label
    labels: Labels = Field(default_factory=dict)
    annotations: dict[LabelKey, str] = Field(default_factory=dict)


class Resources(Strict):
    requests: dict[str, Quantity]
    limits: dict[str, Quantity]


class Seccomp(Strict):
    type: Literal["RuntimeDefault", "Localhost", "Unconfined"]


class PodSecurity(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: Annotated[int, Field(ge=1)]
    runAsGroup: Annotated[int, Field(ge=1)]
    fsGroup: int | None = None
    seccompProfile: Seccomp


class Capabilities(Strict):
    drop: list[Literal["ALL"]]


class ContainerSecurity(Strict):
    allowPrivilegeEscalation: Literal[False]
    capabilities: Capabilities
    readOnlyRootFilesystem: Literal[True]


class ContainerPort(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,15}$")]
    containerPort: Port


class ExecAction(Strict):
    command: Annotated[list[str], Field(min_length=1)]


class Handler(Strict):
    exec: ExecAction


class Lifecycle(Strict):
    preStop: Handler


class VolumeMount(Strict):
    name: Label
    mountPath: Annotated[str, Field(pattern=r"^/")]
    readOnly: bool = False


class Container(Strict):
    name: Label
    image: Image
    command: list[str] = Field(default_factory=list)
    securityContext: ContainerSecurity
    ports: list[ContainerPort] = Field(default_factory=list)
    resources: Resources
    lifecycle: Lifecycle | None = None
    volumeMounts: list[VolumeMount] = Field(default_factory=list)


class ConfigMapSource(Strict):
    name: str


class EmptyDir(Strict):
    sizeLimit: Quantity


class Volume(Strict):
    name: Label
    configMap: ConfigMapSource | None = None
    emptyDir: EmptyDir | None = None

    @model_validator(mode="after")
    def _check_source(self) -> "Volume":
        assert (self.configMap is None) != (self.emptyDir is None)
        return self


class Toleration(Strict):
    key: LabelKey
    operator: Literal["Exists", "Equal"]
    value: str | None = None
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]

    @model_validator(mode="after")
    def _check_value(self) -> "Toleration":
        assert (self.operator == "Equal") == (self.value is not None)
        return self


class PodSpec(Strict):
    serviceAccountName: Label
    automountServiceAccountToken: bool = True
    terminationGracePeriodSeconds: Annotated[int, Field(ge=1)] = 30
    restartPolicy: Literal["Never", "OnFailure"] | None = None
    securityContext: PodSecurity
    nodeSelector: Labels = Field(default_factory=dict)
    tolerations: list[Toleration] = Field(default_factory=list)
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_mounts(self) -> "PodSpec":
        mounted = {mount.name for each in self.containers for mount in each.volumeMounts}
        assert mounted == {volume.name for volume in self.volumes}
        return self


class PodMetadata(Strict):
    labels: Labels


class PodTemplate(Strict):
    metadata: PodMetadata | None = None
    spec: PodSpec
