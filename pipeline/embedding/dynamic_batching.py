"""One model for all shards that are open in a process: what they ask for is embedded together.

Whoever asks waits for the answer. While the model computes, the windows of the other shards gather,
and the next call takes all of them. So its calls are full just when others wait for it, and when
none do, no window waits for company. A model that computes while its caller goes on is given the
next call early, if that is a full one: a GPU then finds it prepared.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from pipeline.audio import Samples
from pipeline.embedding.model import AsyncModel, ModelOutputs, PendingOutputs, Vectors

CALLS_UNDER_WAY = 2
_LOOK_S = 0.0005
"""How often one looks whether the model has an answer, while there is room for a full call."""


class _Rows(NamedTuple):
    """One shard's rows of a call; see `ModelOutputs`."""

    features: Vectors
    logits: Vectors


class _Windows(NamedTuple):
    windows: Sequence[Samples]
    answer: Future[ModelOutputs]


class _Call(NamedTuple):
    run: Callable[[], Any]
    answer: Future[Any]


class _UnderWay(NamedTuple):
    """A call that the model has begun."""

    asked: Sequence[_Windows]
    pending: PendingOutputs
    began: float


class DynamicBatcher:
    """A `Model` for several threads.

    Args:
        model: computes in one thread of its own.
        prepare: called first in that thread: some of torch's settings are a thread's own.
        on_answer: told after each answer, in that thread: how many windows it was of, and how many
            seconds the model had nothing to do before and then computed.
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
        self._under_way: deque[_UnderWay] = deque()
        self._ended = 0.0
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """As the model's."""
        return self._model.fidelity

    def embed(self, windows: Sequence[Samples]) -> ModelOutputs:
        """As the model's, together with what others ask for."""
        answer = Future[ModelOutputs]()
        self._asked.put(_Windows(windows, answer))
        return answer.result()

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """As the model's."""
        return self._model.top_labels(logits, k)

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """As the model's; a block of them fills calls by itself."""
        answer = Future[Vectors]()
        self._asked.put(_Call(lambda: self._model.embed_timestamps(stream, n), answer))
        return answer.result()

    def _work(self) -> None:
        self._prepare()
        self._ended = time.perf_counter()
        while True:
            if self._under_way and (self._is_full or self._under_way[0].pending.done()):
                self._finish(self._under_way.popleft())
                continue
            self._gather()
            if self._waiting and (not self._under_way or self._fills_a_call()):
                self._begin_all()

    @property
    def _is_full(self) -> bool:
        return len(self._under_way) == CALLS_UNDER_WAY

    def _gather(self) -> None:
        """Take what is asked for; where there is nothing else to do, wait for it."""
        try:
            if not self._under_way and not self._waiting:
                self._waiting.append(self._asked.get())
            elif self._under_way and not self._is_full:
                self._waiting.append(self._asked.get(timeout=_LOOK_S))
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
                self._tell(0, began)

    def _begin(self, asked: Sequence[_Windows]) -> None:
        began = time.perf_counter()
        try:
            pending = self._model.begin([window for each in asked for window in each.windows])
        except BaseException as error:
            self._fail(asked, error)
        else:
            self._under_way.append(_UnderWay(asked, pending, began))

    def _finish(self, call: _UnderWay) -> None:
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
        self._tell(first, call.began)

    def _fail(self, asked: Sequence[_Windows], error: BaseException) -> None:
        if len(asked) == 1:
            asked[0].answer.set_exception(error)
            return
        for each in asked:  # whose windows it was; the others are not to suffer for it
            _answer(each.answer, partial(self._model.embed, each.windows))

    def _tell(self, n_windows: int, began: float) -> None:
        idle_s, since = max(0.0, began - self._ended), max(began, self._ended)
        self._ended = time.perf_counter()
        self._on_answer(n_windows, idle_s, self._ended - since)


def _answer(answer: Future[Any], run: Callable[[], Any]) -> None:
    try:
        answer.set_result(run())
    except BaseException as error:
        answer.set_exception(error)
