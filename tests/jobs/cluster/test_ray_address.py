"""Tests that an address without a Ray cluster is refused in time, naming its source."""

import socket
import threading

import pytest

from jobs.cluster import ray_address
from jobs.cluster.ray_address import check_reachable
from pipeline.errors import UsageError
from tests.servers import free_port


@pytest.fixture(autouse=True)
def isolate(monkeypatch, tmp_path):
    """Hide the clusters of other tests and their address files."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services._cached_find_gcs_addresses", _find_no_cluster)
    monkeypatch.setattr(ray_address, "ANSWER_TIMEOUT_S", 0.5)


def _find_no_cluster():
    return frozenset()


_find_no_cluster.cache_clear = lambda: None


def write_address_file(folder, address: str):
    path = folder / "ray" / "ray_current_cluster"
    path.parent.mkdir()
    path.write_text(address)
    return path


@pytest.fixture
def silent_port():
    """A port on which a process listens but does not answer, like a suspended process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def foreign_port():
    """A port on which a server other than Ray answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 not what you are looking for\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_address_file_of_a_dead_cluster_is_named_with_the_way_out(tmp_path):
    port = free_port()
    path = write_address_file(tmp_path, f"127.0.0.1:{port}")
    with pytest.raises(UsageError) as caught:
        check_reachable("auto")
    message = str(caught.value)
    assert f"Ray's file {path} names a cluster that is not reachable" in message
    assert f"127.0.0.1:{port}: " in message
    assert "delete that file" in message
    assert "--address local starts one" in message


@pytest.mark.parametrize("port_fixture", ["silent_port", "foreign_port"])
def test_port_without_ray_is_refused_in_time(port_fixture, request, tmp_path):
    port = request.getfixturevalue(port_fixture)
    write_address_file(tmp_path, f"127.0.0.1:{port}")
    for address, way_out in (
        ("auto", "delete that file"),
        (f"127.0.0.1:{port}", "local starts one"),
    ):
        with pytest.raises(UsageError, match="does not answer as Ray does") as caught:
            check_reachable(address)
        assert way_out in str(caught.value)


def test_variable_with_the_address_of_a_dead_cluster_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="RAY_ADDRESS names a cluster that is not reachable"):
        check_reachable("auto")


def test_refusal_without_a_cluster_suggests_how_to_name_one():
    with pytest.raises(UsageError, match="no Ray cluster runs on this machine; name one with"):
        check_reachable("auto")


def test_dashboard_url_is_refused():
    with pytest.raises(UsageError, match="the URL of a dashboard is for `passtream submit`"):
        check_reachable("http://127.0.0.1:8265")
