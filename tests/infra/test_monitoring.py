"""The dashboard and the alerts query metrics that a run exports."""

import itertools
import json
import re

import pytest
import ray.util.metrics as ray_metrics

from jobs.cluster.metrics import ModelMetrics, RunMetrics
from tests.infra.kustomize import build, find
from tests.support import ROOT

MONITORING = build(ROOT / "infra" / "monitoring")
DASHBOARD = json.loads(
    find(MONITORING, "ConfigMap", "passtream-dashboard")["data"]["dashboard.json"]
)
PANELS = DASHBOARD["panels"]
ALERTS = [
    rule
    for group in find(MONITORING, "PrometheusRule", "passtream")["spec"]["groups"]
    for rule in group["rules"]
]
PAGE = ROOT / "infra" / "observability.md"


def list_metrics():
    """Return the tags of each metric, by its name in Prometheus."""
    found = {}
    for each in (*vars(RunMetrics()).values(), *vars(ModelMetrics()).values()):
        tags = set(each.info["tag_keys"])
        suffixes = [""]
        if isinstance(each, ray_metrics.Counter):
            suffixes = ["_total"]
        elif isinstance(each, ray_metrics.Histogram):
            suffixes = ["_bucket", "_sum", "_count"]
        for suffix in suffixes:
            is_bucket = suffix == "_bucket"
            found[f"ray_{each.info['name']}{suffix}"] = tags | ({"le"} if is_bucket else set())
    return found


METRICS = list_metrics()
# Labels that the pod monitor and Prometheus add to every metric.
ADDED = {"namespace", "ray_io_cluster", "ray_io_group"}


def expressions():
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


@pytest.mark.parametrize(("name", "expr"), list(expressions()))
def test_expression_uses_existing_metrics_and_tags(name, expr):
    queried = re.findall(r"\bray_passtream\w+", expr)
    assert queried
    assert set(queried) <= set(METRICS), name
    tags = set().union(*(METRICS[each] for each in queried)) | ADDED
    matched = re.findall(r"(\w+)\s*=~?\s*\"", expr)
    by = [tag.strip() for group in re.findall(r"by \(([^)]*)\)", expr) for tag in group.split(",")]
    assert set(matched) | set(by) <= tags, name
    assert expr.count("(") == expr.count(")")
    assert expr.count("{") == expr.count("}")
    # A rate or an increase exists only for counters and histograms.
    for inner in re.findall(r"(?:rate|increase)\((\w+)", expr):
        assert inner.endswith(("_total", "_bucket", "_sum", "_count")), name


def test_every_metric_is_documented_and_shown_on_the_dashboard():
    page = PAGE.read_text()
    for name in METRICS:
        assert re.sub("(_bucket|_sum|_count)$", "", name) in page, name
    shown = " ".join(expr for _, expr in expressions())
    histogram = "ray_passtream_call_windows"
    assert all(name in shown or name.startswith(histogram) for name in METRICS)


def test_panels_have_unique_ids_and_do_not_overlap():
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    positions = [panel["gridPos"] for panel in PANELS]
    assert all(position["x"] + position["w"] <= 24 for position in positions)
    for a, b in itertools.combinations(positions, 2):
        is_beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        is_below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert is_beside or is_below, (a, b)


def test_panels_have_unique_titles_and_the_data_source_of_the_dashboard():
    titles = [panel["title"] for panel in PANELS]
    assert len(set(titles)) == len(titles)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_alerts_have_annotations_a_severity_and_the_name_of_the_cluster():
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert {"summary", "description"} <= set(alert["annotations"])
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}
        assert "ray_io_cluster" in alert["expr"]
