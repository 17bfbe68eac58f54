"""Models of Kubernetes and Prometheus operator objects, with the fields that `infra` uses."""

from ipaddress import ip_network
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, model_validator

from tests.infra.kubernetes_pods import Label, LabelKey, Labels, Metadata, PodTemplate, Port
from tests.infra.kustomize import Object, Strict
from tests.infra.ray_objects import Count, Positive, RayCronJob, RayJob

Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h|d)$")]


def _check_zone(name: str) -> str:
    assert ZoneInfo(name)
    return name


class ServiceAccount(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["ServiceAccount"]
    metadata: Metadata


class NamespaceMetadata(Strict):
    name: Label
    labels: Labels


class Namespace(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: NamespaceMetadata


class ConfigMap(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str]


class JobSpec(Strict):
    backoffLimit: Count
    activeDeadlineSeconds: Positive
    template: PodTemplate


class JobTemplate(Strict):
    spec: JobSpec


class CronJobSpec(Strict):
    schedule: Annotated[str, Field(pattern=r"^(\S+ ){4}\S+$")]
    timeZone: Annotated[str, AfterValidator(_check_zone)]
    concurrencyPolicy: Literal["Allow", "Forbid", "Replace"]
    startingDeadlineSeconds: Count
    successfulJobsHistoryLimit: Count
    failedJobsHistoryLimit: Count
    jobTemplate: JobTemplate


class CronJob(Strict):
    apiVersion: Literal["batch/v1"]
    kind: Literal["CronJob"]
    metadata: Metadata
    spec: CronJobSpec


class Rule(Strict):
    apiGroups: list[str]
    resources: list[str]
    resourceNames: list[str] = Field(default_factory=list)
    verbs: list[Literal["get", "list", "watch", "create", "update", "patch", "delete"]]


class Role(Strict):
    apiVersion: Literal["rbac.authorization.k8s.io/v1"]
    kind: Literal["Role"]
    metadata: Metadata
    rules: list[Rule]


class RoleRef(Strict):
    apiGroup: Literal["rbac.authorization.k8s.io"]
    kind: Literal["Role"]
    name: str


class Subject(Strict):
    kind: Literal["ServiceAccount"]
    name: str
    namespace: Label


class RoleBinding(Strict):
    apiVersion: Literal["rbac.authorization.k8s.io/v1"]
    kind: Literal["RoleBinding"]
    metadata: Metadata
    roleRef: RoleRef
    subjects: list[Subject]


class Selector(Strict):
    matchLabels: Labels = Field(default_factory=dict)


def _check_network(text: str) -> str:
    assert ip_network(text)
    return text


Network = Annotated[str, AfterValidator(_check_network)]


class IpBlock(Strict):
    cidr: Network
    except_: list[Network] = Field(default_factory=list, alias="except")

    @model_validator(mode="after")
    def _check_exceptions(self) -> "IpBlock":
        whole = ip_network(self.cidr)
        for each in map(ip_network, self.except_):
            assert each.version == whole.version
            assert each.subnet_of(whole)
        return self


class Peer(Strict):
    podSelector: Selector | None = None
    namespaceSelector: Selector | None = None
    ipBlock: IpBlock | None = None

    @model_validator(mode="after")
    def _check_pods_or_addresses(self) -> "Peer":
        assert self.ipBlock is None or not (self.podSelector or self.namespaceSelector)
        return self


class PolicyPort(Strict):
    port: Port
    protocol: Literal["TCP", "UDP"]


class Ingress(Strict):
    from_: list[Peer] = Field(alias="from")
    ports: list[PolicyPort] = Field(default_factory=list)


class Egress(Strict):
    to: list[Peer]
    ports: list[PolicyPort] = Field(default_factory=list)


class NetworkPolicySpec(Strict):
    podSelector: Selector
    policyTypes: list[Literal["Ingress", "Egress"]]
    ingress: list[Ingress] = Field(default_factory=list)
    egress: list[Egress] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_rule_types(self) -> "NetworkPolicySpec":
        assert not self.ingress or "Ingress" in self.policyTypes
        assert not self.egress or "Egress" in self.policyTypes
        return self


class NetworkPolicy(Strict):
    apiVersion: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: NetworkPolicySpec


class Relabeling(Strict):
    sourceLabels: list[str]
    targetLabel: Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*$")]


class Endpoint(Strict):
    port: str
    interval: Duration
    relabelings: list[Relabeling]


class PodMonitorSpec(Strict):
    selector: Selector
    podMetricsEndpoints: list[Endpoint]


class PodMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: PodMonitorSpec


class Alert(Strict):
    alert: Annotated[str, Field(pattern=r"^[A-Z]\w+$")]
    expr: str
    for_: Duration | None = Field(default=None, alias="for")
    labels: dict[LabelKey, str]
    annotations: dict[LabelKey, str]


class AlertGroup(Strict):
    name: str
    rules: list[Alert]


class PrometheusRuleSpec(Strict):
    groups: list[AlertGroup]


class PrometheusRule(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: PrometheusRuleSpec


KINDS: dict[str, type[BaseModel]] = {
    each.__name__: each
    for each in (
        ConfigMap,
        CronJob,
        Namespace,
        NetworkPolicy,
        PodMonitor,
        PrometheusRule,
        RayCronJob,
        RayJob,
        Role,
        RoleBinding,
        ServiceAccount,
    )
}


def validate_objects(objects: list[Object]) -> dict[tuple[str, str], Any]:
    """Validate each object by the model of its kind; return the models by kind and name."""
    found = [KINDS[each["kind"]].model_validate(each) for each in objects]
    return {(each.kind, each.metadata.name): each for each in found}
