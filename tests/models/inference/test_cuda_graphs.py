"""What becomes of the device where a forward cannot be recorded, with CUDA's calls stood in for."""

import contextlib

import pytest
import torch

from models.inference.cuda_graphs import _capture

CUDA = torch.device("cuda:0")


class Stream:
    device_index = 0


@pytest.fixture
def calls(monkeypatch):
    """What is told to the device; recording itself makes the stream of a graph current."""
    made, caller, of_graph = [], Stream(), Stream()
    current = [caller]

    @contextlib.contextmanager
    def graph(graph, pool, capture_error_mode):
        current[0] = of_graph
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[0])
    monkeypatch.setattr(
        torch.cuda,
        "set_stream",
        lambda stream: current.__setitem__(0, stream) or made.append("set"),
    )
    monkeypatch.setattr(
        torch._C, "_cuda_endAllocateToPool", lambda *args: made.append(args), raising=False
    )
    return made, current, caller


def test_a_recording_that_fails_at_its_end_gives_stream_and_allocator_back(calls):
    made, current, caller = calls
    with pytest.raises(RuntimeError, match="previous error"), _capture(None, CUDA, (0, 7)):
        pass
    assert current == [caller]
    assert made == ["set", (0, (0, 7))]


def test_an_allocator_that_has_ended_already_is_no_error_of_its_own(calls, monkeypatch):
    def refuse(*_):
        raise RuntimeError("not currently recording to mempool_id")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", refuse, raising=False)
    with pytest.raises(RuntimeError, match="previous error"), _capture(None, CUDA, (0, 7)):
        pass
