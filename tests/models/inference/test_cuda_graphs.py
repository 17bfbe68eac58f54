"""Tests of the cleanup after a failed CUDA graph capture, with stand-ins for CUDA's calls."""

import contextlib

import pytest
import torch

from models.inference.cuda_graphs import _capture

CUDA = torch.device("cuda:0")


class FakeStream:
    device_index = 0


@pytest.fixture
def calls(monkeypatch):
    """The cleanup calls, the current stream and the caller's stream, for a capture that fails.

    A capture makes its own stream current.
    """
    cleanup, caller, capture_stream = [], FakeStream(), FakeStream()
    current = [caller]

    @contextlib.contextmanager
    def graph(graph, pool, capture_error_mode):
        current[0] = capture_stream
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[0])
    monkeypatch.setattr(
        torch.cuda,
        "set_stream",
        lambda stream: current.__setitem__(0, stream) or cleanup.append("set"),
    )
    monkeypatch.setattr(
        torch._C, "_cuda_endAllocateToPool", lambda *args: cleanup.append(args), raising=False
    )
    return cleanup, current, caller


def test_failed_capture_restores_stream_and_allocator(calls):
    cleanup, current, caller = calls
    with pytest.raises(RuntimeError, match="previous error"), _capture(None, CUDA, (0, 7)):
        pass
    assert current == [caller]
    assert cleanup == ["set", (0, (0, 7))]


def test_allocation_that_has_ended_already_raises_no_second_error(calls, monkeypatch):
    def refuse(*_):
        raise RuntimeError("not currently recording to mempool_id")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", refuse, raising=False)
    with pytest.raises(RuntimeError, match="previous error"), _capture(None, CUDA, (0, 7)):
        pass
