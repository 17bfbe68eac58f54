"""Tests of `jobs.submit.job_client`: address of the dashboard, and errors without one."""

import pytest

from jobs.submit.job_client import DEFAULT_ADDRESS, JobClient, dashboard_url
from pipeline.errors import UsageError
from tests.servers import free_port, moto_server

API, ADDRESS = "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ("http://head:8265/", {API: "http://other:1"}, "http://head:8265"),
        ("https://ray.example.org/team", {}, "https://ray.example.org/team"),
        ("head:8265", {}, "http://head:8265"),
        (None, {API: "http://a:1", ADDRESS: "http://b:2"}, "http://a:1"),
        (None, {ADDRESS: "http://b:2"}, "http://b:2"),
        (None, {ADDRESS: "10.0.0.1:6379"}, DEFAULT_ADDRESS),
        (None, {}, DEFAULT_ADDRESS),
    ],
)
def test_given_address_overrides_the_variables_of_ray(given, env, expected, monkeypatch):
    for name in (API, ADDRESS):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert dashboard_url(given) == expected


@pytest.mark.parametrize("address", ["auto", "local", "ray://head:10001", "http://", ""])
def test_address_that_is_no_dashboard_url_is_refused(address):
    with pytest.raises(UsageError, match="must be the URL of a cluster's dashboard"):
        dashboard_url(address)


def test_address_without_a_dashboard_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(API, "http://another")  # Ray's own client would prefer it
    with pytest.raises(UsageError) as refused:
        JobClient(f"http://u:do-not-show@127.0.0.1:{free_port()}")
    assert "no answer from a Ray dashboard" in str(refused.value)
    assert "do-not-show" not in str(refused.value)
    assert "\n" not in str(refused.value)
    with moto_server(tmp_path) as server, pytest.raises(UsageError, match="http://HOST:8265"):
        JobClient(server.url)
