"""`dynamic_batching`: many threads ask one model, and each gets its own answer."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.embedding.dynamic_batching import DynamicBatcher
from tests.pipeline.conftest import StatisticsModel
from tests.support import wait_until


class WatchedModel(StatisticsModel):
    """Notes its calls, holds the first until it may go on, and fails for windows of NaN."""

    def __init__(self):
        super().__init__()
        self.threads = set()
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def embed(self, windows):
        self.threads.add(threading.current_thread())
        self.begun.set()
        assert self.go.wait(60)
        if any(np.isnan(window).any() for window in windows):
            raise ValueError("NaN")
        return super().embed(windows)


class Later:
    """An answer that is there when the test says so."""

    def __init__(self, outputs):
        self.outputs, self.there = outputs, threading.Event()

    def done(self):
        return self.there.is_set()

    def result(self):
        assert self.there.wait(60)
        return self.outputs


class LaterModel(StatisticsModel):
    """Its caller goes on while it computes, as a GPU's does; a batch is 300 samples."""

    batch_samples = 300

    def __init__(self):
        super().__init__()
        self.begun = []

    def begin(self, windows):
        self.begun.append(Later(self.embed(windows)))
        return self.begun[-1]


def windows(seed, n):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(100 + 10 * i).astype(np.float32) for i in range(n)]


def test_each_gets_the_rows_of_its_own_windows():
    model = WatchedModel()
    shared = DynamicBatcher(model)
    asked = [windows(seed, 1 + seed % 5) for seed in range(40)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(shared.embed, asked))
    alone = StatisticsModel()
    for each, answer in zip(asked, answers, strict=True):
        expected = alone.embed(each)
        np.testing.assert_array_equal(answer.features, expected.features)
        np.testing.assert_array_equal(answer.logits, expected.logits)
    assert len(model.threads) == 1


def test_what_is_asked_during_a_call_is_the_next_one():
    model = WatchedModel()
    model.go.clear()
    shared = DynamicBatcher(model)
    with ThreadPoolExecutor(5) as threads:
        answers = [threads.submit(shared.embed, windows(0, 1))]
        assert model.begun.wait(60)
        answers += [threads.submit(shared.embed, windows(seed, 2)) for seed in range(4)]
        wait_until(lambda: shared._asked.qsize() == 4)
        model.go.set()
        assert [len(answer.result().features) for answer in answers] == [1, 2, 2, 2, 2]
    assert model.calls == [1, 8]


def test_one_that_fails_leaves_the_others_their_answers():
    model = WatchedModel()
    model.go.clear()
    shared = DynamicBatcher(model)
    bad = [np.full(100, np.nan, np.float32)]
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(shared.embed, windows(0, 1))
        assert model.begun.wait(60)
        answers = [threads.submit(shared.embed, each) for each in (windows(1, 2), bad)]
        wait_until(lambda: shared._asked.qsize() == 2)
        model.go.set()
        assert len(first.result().features) == 1
        assert len(answers[0].result().features) == 2
        with pytest.raises(ValueError, match="NaN"):
            answers[1].result()
    assert len(shared.embed(windows(2, 3)).features) == 3  # it goes on


def test_timestamps_and_settings_are_in_the_same_thread():
    model, prepared = WatchedModel(), []
    shared = DynamicBatcher(model, lambda: prepared.append(threading.current_thread()))
    shared.embed(windows(0, 1))
    assert set(prepared) == model.threads
    stream = np.zeros(8000, np.float32)
    np.testing.assert_array_equal(
        shared.embed_timestamps(stream, 2), StatisticsModel().embed_timestamps(stream, 2)
    )
    assert shared.fidelity == model.fidelity


def test_each_answer_is_told_with_its_windows_and_times():
    told = []
    shared = DynamicBatcher(StatisticsModel(), on_answer=lambda *answer: told.append(answer))
    shared.embed(windows(0, 3))
    shared.embed_timestamps(np.zeros(8000, np.float32), 2)
    wait_until(lambda: len(told) == 2)
    assert [n for n, _, _ in told] == [3, 0]
    assert all(idle_s >= 0 and compute_s >= 0 for _, idle_s, compute_s in told)


def test_a_full_call_is_begun_while_another_is_under_way():
    model = LaterModel()
    shared = DynamicBatcher(model)
    asked = [windows(seed, 1) for seed in range(8)]  # 100 samples each
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(shared.embed, asked[0])]
        wait_until(lambda: len(model.begun) == 1)
        answers += [threads.submit(shared.embed, each) for each in asked[1:3]]
        wait_until(lambda: len(shared._waiting) == 2)
        assert model.calls == [1]  # two windows fill no call
        answers.append(threads.submit(shared.embed, asked[3]))
        wait_until(lambda: len(model.begun) == 2)
        assert model.calls == [1, 3]
        # Two are under way: whatever comes waits.
        answers += [threads.submit(shared.embed, each) for each in asked[4:]]
        wait_until(lambda: shared._asked.qsize() == 4)
        assert model.calls == [1, 3]
        model.begun[0].there.set()
        wait_until(lambda: len(model.begun) == 3)
        assert model.calls == [1, 3, 4]
        for later in model.begun[1:]:
            later.there.set()
        alone = StatisticsModel()
        for each, answer in zip(asked, answers, strict=True):
            np.testing.assert_array_equal(answer.result().features, alone.embed(each).features)


def test_what_does_not_fill_a_call_goes_when_the_model_is_free():
    model = LaterModel()
    shared = DynamicBatcher(model)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.embed, windows(0, 1))
        wait_until(lambda: len(model.begun) == 1)
        second = threads.submit(shared.embed, windows(1, 1))
        wait_until(lambda: len(shared._waiting) == 1)
        model.begun[0].there.set()
        assert len(first.result().features) == 1
        wait_until(lambda: len(model.begun) == 2)
        model.begun[1].there.set()
        assert len(second.result().features) == 1
    assert model.calls == [1, 1]


def test_an_answer_that_fails_late_is_an_error_of_whose_it_was():
    class FailingModel(LaterModel):
        def begin(self, windows):
            later = super().begin(windows)
            later.there.set()
            if len(self.begun) == 2:
                later.result = lambda: 1 / 0
            return later

    model = FailingModel()
    shared = DynamicBatcher(model)
    assert len(shared.embed(windows(0, 1)).features) == 1
    with pytest.raises(ZeroDivisionError):
        shared.embed(windows(1, 1))
    assert len(shared.embed(windows(2, 1)).features) == 1
