"""Where a cluster's dashboard is looked for, and what is said of one that is no dashboard."""

import pytest

from jobs.submit.job_client import DEFAULT_ADDRESS, JobClient, dashboard_url
from pipeline.errors import UsageError
from tests.servers import free_port, moto_server

API, DRIVERS = "RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        ("http://head:8265/", {API: "http://other:1"}, "http://head:8265"),
        ("https://ray.example.org/team", {}, "https://ray.example.org/team"),
        ("head:8265", {}, "http://head:8265"),
        (None, {API: "http://a:1", DRIVERS: "http://b:2"}, "http://a:1"),
        (None, {DRIVERS: "http://b:2"}, "http://b:2"),
        (None, {DRIVERS: "10.0.0.1:6379"}, DEFAULT_ADDRESS),
        (None, {}, DEFAULT_ADDRESS),
    ],
)
def test_what_is_given_wins_over_rays_variables(given, env, expected, monkeypatch):
    for name in (API, DRIVERS):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert dashboard_url(given) == expected


@pytest.mark.parametrize("address", ["auto", "local", "ray://head:10001", "http://", ""])
def test_what_is_no_url_of_a_dashboard_is_refused(address):
    with pytest.raises(UsageError, match="must be the URL of a cluster's dashboard"):
        dashboard_url(address)


def test_nothing_there_and_something_else_there(tmp_path, monkeypatch):
    monkeypatch.setenv(API, "http://another")  # Ray's client would take it
    with pytest.raises(UsageError) as refused:
        JobClient(f"http://u:do-not-show@127.0.0.1:{free_port()}")
    assert "no answer of a Ray dashboard" in str(refused.value)
    assert "do-not-show" not in str(refused.value)
    assert "\n" not in str(refused.value)
    with moto_server(tmp_path) as server, pytest.raises(UsageError, match="http://HOST:8265"):
        JobClient(server.url)
