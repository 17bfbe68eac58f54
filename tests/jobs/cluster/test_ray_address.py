"""An address at which no Ray cluster answers is refused in time, by what names it."""

import socket
import threading

import pytest

from jobs.cluster import ray_address
from jobs.cluster.ray_address import check_reachable
from pipeline.errors import UsageError
from tests.servers import free_port


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No cluster of another test is seen, nor a note that is not this test's."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services._cached_find_gcs_addresses", _nothing_runs)
    monkeypatch.setattr(ray_address, "ANSWER_TIMEOUT_S", 0.5)


def _nothing_runs():
    return frozenset()


_nothing_runs.cache_clear = lambda: None


def leave_note(folder, address: str):
    note = folder / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text(address)
    return note


@pytest.fixture
def mute():
    """A port where something listens that says nothing, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def stranger():
    """A port where something else than Ray answers."""
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


def test_note_of_a_cluster_that_is_gone_is_named_with_the_way_out(tmp_path):
    port = free_port()
    note = leave_note(tmp_path, f"127.0.0.1:{port}")
    with pytest.raises(UsageError) as caught:
        check_reachable("auto")
    told = str(caught.value)
    assert f"Ray's note {note} names a cluster that is not reachable" in told
    assert f"127.0.0.1:{port}: " in told
    assert "delete that file" in told
    assert "--address local starts one" in told


@pytest.mark.parametrize("kind", ["mute", "stranger"])
def test_port_that_is_no_longer_a_clusters_is_not_waited_for(kind, request, tmp_path):
    port = request.getfixturevalue(kind)
    leave_note(tmp_path, f"127.0.0.1:{port}")
    for address, told in (("auto", "delete that file"), (f"127.0.0.1:{port}", "local starts one")):
        with pytest.raises(UsageError, match="does not answer as Ray does") as caught:
            check_reachable(address)
        assert told in str(caught.value)


def test_variable_that_names_a_dead_cluster_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="RAY_ADDRESS names a cluster that is not reachable"):
        check_reachable("auto")


def test_machine_without_a_cluster_is_told_how_to_name_one():
    with pytest.raises(UsageError, match="no Ray cluster runs on this machine; name one by"):
        check_reachable("auto")


def test_dashboards_url_is_refused_by_name():
    with pytest.raises(UsageError, match="the URL of a dashboard is for `passtream submit`"):
        check_reachable("http://127.0.0.1:8265")
