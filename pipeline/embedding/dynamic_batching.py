"""Dynamic batching: one model embeds the windows of all open shards of a process together.

Each shard's thread waits for its outputs. While the model computes, windows of other shards queue
up, and the next call takes all of them. So calls are full when shards wait for the model, and when
none do, no window waits for others. An asynchronous model gets the next call early if that call is
full, so that a GPU finds it prepared.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from pipeline.embedding.model import AsyncModel, ModelOutputs, PendingOutputs, Vectors
from pipeline.samples import Samples

MAX_CALLS_IN_FLIGHT = 2
_POLL_S = 0.0005
"""Seconds between polls of the model while another full call could still be begun."""


class _Rows(NamedTuple):
    """The rows of a call's outputs that belong to one shard; see `ModelOutputs`."""

    features: Vectors
    logits: Vectors


class _Windows(NamedTuple):
    windows: Sequence[Samples]
    answer: Future[ModelOutputs]


class _Call(NamedTuple):
    run: Callable[[], Any]
    answer: Future[Any]


class _InFlight(NamedTuple):
    """A call that the model is computing."""

    asked: Sequence[_Windows]
    pending: PendingOutputs
    began: float


class DynamicBatcher:
    """A `Model` that several threads can call.

    Args:
        model: Model that computes in one thread of its own.
        prepare: Called first in that thread, because some of torch's settings belong to a thread.
        on_answer: Called in that thread after each call, with the number of windows, the seconds
            that the model was idle before it, and the seconds that it computed.
    """

    def __init__(
        self,
        model: AsyncModel,
        prepare: Callable[[], None] = lambda: None,
        on_answer: Callable[[int, float, float], None] = lambda *_: None,
    ) -> None:
        self._model = model
        self._prepare = prepare
        self._on_answer = on_answer
        self._asked: SimpleQueue[_Windows | _Call] = SimpleQueue()
        self._waiting: list[_Windows | _Call] = []
        self._in_flight: deque[_InFlight] = deque()
        self._ended = 0.0
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """Fidelity of the model."""
        return self._model.fidelity

    def embed(self, windows: Sequence[Samples]) -> ModelOutputs:
        """Embed windows, together with those of other threads."""
        answer = Future[ModelOutputs]()
        self._asked.put(_Windows(windows, answer))
        return answer.result()

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """Return the k most probable classes of each row; see `Model.top_labels`."""
        return self._model.top_labels(logits, k)

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Embed n consecutive timestamps; a block of them fills calls by itself."""
        answer = Future[Vectors]()
        self._asked.put(_Call(lambda: self._model.embed_timestamps(stream, n), answer))
        return answer.result()

    def _work(self) -> None:
        self._prepare()
        self._ended = time.perf_counter()
        while True:
            if self._in_flight and (self._is_full or self._in_flight[0].pending.done()):
                self._finish(self._in_flight.popleft())
                continue
            self._gather()
            if self._waiting and (not self._in_flight or self._fills_a_call()):
                self._begin_all()

    @property
    def _is_full(self) -> bool:
        return len(self._in_flight) == MAX_CALLS_IN_FLIGHT

    def _gather(self) -> None:
        """Take the queued requests; wait for one if there is nothing else to do."""
        try:
            if not self._in_flight and not self._waiting:
                self._waiting.append(self._asked.get())
            elif self._in_flight and not self._is_full:
                self._waiting.append(self._asked.get(timeout=_POLL_S))
            while True:
                self._waiting.append(self._asked.get_nowait())
        except Empty:
            return

    def _fills_a_call(self) -> bool:
        windows = (w for each in self._waiting if isinstance(each, _Windows) for w in each.windows)
        return sum(map(len, windows)) >= self._model.batch_samples

    def _begin_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        if together := [each for each in waiting if isinstance(each, _Windows)]:
            self._begin(together)
        for each in waiting:
            if isinstance(each, _Call):
                began = time.perf_counter()
                _answer(each.answer, each.run)
                self._report(0, began)

    def _begin(self, asked: Sequence[_Windows]) -> None:
        began = time.perf_counter()
        try:
            pending = self._model.begin([window for each in asked for window in each.windows])
        except BaseException as error:
            self._fail(asked, error)
        else:
            self._in_flight.append(_InFlight(asked, pending, began))

    def _finish(self, call: _InFlight) -> None:
        try:
            outputs = call.pending.result()
        except BaseException as error:
            self._fail(call.asked, error)
            return
        first = 0
        for each in call.asked:
            rows = slice(first, first + len(each.windows))
            each.answer.set_result(_Rows(outputs.features[rows], outputs.logits[rows]))
            first = rows.stop
        self._report(first, call.began)

    def _fail(self, asked: Sequence[_Windows], error: BaseException) -> None:
        if len(asked) == 1:
            asked[0].answer.set_exception(error)
            return
        for each in asked:  # one by one, so that only the shard with the bad windows fails
            _answer(each.answer, partial(self._model.embed, each.windows))

    def _report(self, n_windows: int, began: float) -> None:
        idle_s, since = max(0.0, began - self._ended), max(began, self._ended)
        self._ended = time.perf_counter()
        self._on_answer(n_windows, idle_s, self._ended - since)


def _answer(answer: Future[Any], run: Callable[[], Any]) -> None:
    try:
        answer.set_result(run())
    except BaseException as error:
        answer.set_exception(error)
