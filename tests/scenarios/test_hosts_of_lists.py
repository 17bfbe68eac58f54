"""Tests of `passtream` with lists of recordings on sound, faulty and unreachable hosts."""

import csv
import json
from pathlib import Path

import pytest

from tests.hosts import closed_port_url, drip, overstate_length, run_host, understate_length
from tests.support import QUICK, error_rows, passtream, vectors, write_tones


@pytest.fixture
def host(tmp_path):
    (recording,) = write_tones(tmp_path / "local", (0.6,))
    content = recording.read_bytes()
    answers = {
        **{f"/intact/{i}.wav": content for i in range(3)},
        "/500.wav": 500,
        "/503.wav": 503,
        "/403.wav": 403,
        "/404.wav": 404,
        "/loop.wav": "/loop.wav",
        "/long.wav": overstate_length(content),
        "/short.wav": understate_length(content),
        "/drip.wav": drip(content),
        "/metadata.wav": "http://169.254.169.254/latest/x.wav",
    }
    with run_host(answers) as host:
        yield host


CLASSES = {
    "500": "server_error",
    "503": "server_error",
    "403": "forbidden",
    "404": "missing",
    "loop": "redirect_loop",
    "long": "short_response",
    "short": "truncated or short_response",
    "drip": "too_slow",
    "metadata": "not_allowed",
}


def write_list(path: Path, uris) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["uri"], *([uri] for uri in uris)])
    return path


def test_faults_of_hosts_become_error_rows_and_plan_and_verify_agree(host, tmp_path):
    intact = [f"{host.url}/intact/{i}.wav" for i in range(3)]
    expected = {f"{host.url}/{name}.wav": kind for name, kind in CLASSES.items()}
    dead = [f"{closed_port_url()}/x.wav", "http://nosuchhost.invalid/x.wav"]
    expected |= dict.fromkeys(dead, "host_unreachable")
    source = write_list(tmp_path / "list.csv", ["local/000.wav", *expected, *intact])
    table, brief = tmp_path / "table", ("--store-timeout-s", 2)
    run = passtream(
        "embed", source, table, *QUICK, "--in-process", *brief, "--shard-clips", 5,
        "--max-error-ratio", 1,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = {uri: kind for uri, (kind, _) in error_rows(table).items()}
    # The class depends on whether the surplus bytes arrive together with the declared bytes.
    assert found.pop(f"{host.url}/short.wav") in ("truncated", "short_response")
    assert found == {uri: kind for uri, kind in expected.items() if "/short" not in uri}
    assert set(vectors(table)) == {*intact, str(tmp_path / "local/000.wav")}
    again = passtream("embed", source, table, *QUICK, "--in-process", *brief)
    assert again.returncode == 0, again.stderr
    checked = passtream("verify", table, "--source", source, *brief)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "clips whose host does not answer" in checked.stdout
    planned = passtream("plan", source, "--json", *QUICK[:2], *brief)
    assert planned.returncode == 0, planned.stderr
    errors = json.loads(planned.stdout)["errors"]
    assert sum(errors.values()) >= len(expected) - 1, planned.stdout


def test_more_errors_than_the_ratio_permits_give_exit_code_4(host, tmp_path):
    uris = [f"{closed_port_url()}/x.wav", f"{host.url}/intact/0.wav"]
    source = write_list(tmp_path / "list.csv", uris)
    run = passtream(
        "embed", source, tmp_path / "table", *QUICK, "--in-process", "--store-timeout-s", 1
    )
    assert run.returncode == 4, run.stderr
    assert "host_unreachable" in run.stdout + run.stderr


def test_run_ends_with_exit_code_3_and_no_error_rows_if_no_host_answers(tmp_path):
    source = write_list(tmp_path / "list.csv", [f"{closed_port_url()}/{i}.wav" for i in range(9)])
    run = passtream(
        "embed", source, tmp_path / "table", *QUICK, "--in-process", "--store-timeout-s", 1
    )
    assert run.returncode == 3, run.stderr
    assert "none of the 9 hosts that the list names answers" in run.stderr
    assert not (tmp_path / "table").exists()


def test_prune_keeps_the_rows_of_a_host_that_does_not_answer(host, tmp_path):
    (tmp_path / "here.wav").write_bytes((tmp_path / "local/000.wav").read_bytes())
    source, table = tmp_path / "list.csv", tmp_path / "table"
    options = (*QUICK, "--in-process", "--store-timeout-s", 1, "--max-error-ratio", 1)
    with run_host({"/a.wav": host.answers["/intact/0.wav"]}) as other:
        write_list(source, ["here.wav", f"{other.url}/a.wav"])
        assert passtream("embed", source, table, *options).returncode == 0
    before = vectors(table)
    run = passtream("embed", source, table, *options, "--prune", "--max-prune-ratio", 1)
    assert run.returncode == 0, run.stderr
    assert set(vectors(table)) == set(before)
    assert len(before) == 2
    checked = passtream("verify", table, "--source", source, "--store-timeout-s", 1)
    assert checked.returncode == 0, checked.stdout


def test_retry_and_verify_use_the_saved_allow_hosts_and_no_local(host, tmp_path):
    with run_host(host.answers, "127.0.0.2") as other:
        uris = [f"{host.url}/intact/0.wav", f"{other.url}/intact/1.wav", "local/000.wav"]
        source = write_list(tmp_path / "list.csv", uris)
        table = tmp_path / "table"
        run = passtream(
            "embed", source, table, *QUICK, "--in-process", "--max-error-ratio", 1,
            "--allow-hosts", "127.0.0.1", "--no-local",
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert {kind for kind, _ in error_rows(table).values()} == {"not_allowed"}
        assert set(vectors(table)) == {uris[0]}
        assert passtream("verify", table, "--source", source).returncode == 0
        planned = passtream("plan", source, table, "--json")
        assert planned.returncode == 0, planned.stderr
        retried = passtream("retry", table, "--in-process")
        assert retried.returncode in (0, 4), retried.stderr
        assert set(vectors(table)) == {uris[0]}
        assert not other.requests
        allowed = passtream(
            "retry", table, "--in-process", "--allow-hosts", "127.0.0.1,127.0.0.2", "--local"
        )
        assert allowed.returncode == 0, allowed.stderr
        assert set(vectors(table)) == {*uris[:2], str(tmp_path / "local/000.wav")}
