"""One model for all shards that are open in a process: what they ask for is embedded together.

Whoever asks waits for the answer. While the model computes, the windows of the other shards gather,
and the next call takes all of them. So its calls are full just when others wait for it, and when
none do, no window waits for company.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from pipeline.model import Model, ModelOutputs, Vectors
from pipeline.sound import Samples


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


class SharedModel:
    """A `Model` for several threads.

    Args:
        model: computes in one thread of its own.
        prepare: called first in that thread: some of torch's settings are a thread's own.
        on_answer: told after each answer, in that thread: how many windows it was of, and how many
            seconds the model had nothing to do before and then computed.
    """

    def __init__(
        self,
        model: Model,
        prepare: Callable[[], None] = lambda: None,
        on_answer: Callable[[int, float, float], None] = lambda *_: None,
    ) -> None:
        self._model = model
        self._prepare = prepare
        self._on_answer = on_answer
        self._asked: SimpleQueue[_Windows | _Call] = SimpleQueue()
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
        ended = time.perf_counter()
        while True:
            waiting = [self._asked.get(), *self._others()]
            began = time.perf_counter()
            together = [each for each in waiting if isinstance(each, _Windows)]
            if together:
                self._embed(together)
            for each in waiting:
                if isinstance(each, _Call):
                    _answer(each.answer, each.run)
            idle_s, ended = began - ended, time.perf_counter()
            n_windows = sum(len(each.windows) for each in together)
            self._on_answer(n_windows, idle_s, ended - began)

    def _others(self) -> Iterator[_Windows | _Call]:
        try:
            while True:
                yield self._asked.get_nowait()
        except Empty:
            return

    def _embed(self, asked: Sequence[_Windows]) -> None:
        try:
            outputs = self._model.embed([window for each in asked for window in each.windows])
        except BaseException as error:
            if len(asked) == 1:
                asked[0].answer.set_exception(error)
                return
            for each in asked:  # whose windows it was; the others are not to suffer for it
                self._embed([each])
            return
        first = 0
        for each in asked:
            rows = slice(first, first + len(each.windows))
            each.answer.set_result(_Rows(outputs.features[rows], outputs.logits[rows]))
            first = rows.stop


def _answer(answer: Future[Any], run: Callable[[], Any]) -> None:
    try:
        answer.set_result(run())
    except BaseException as error:
        answer.set_exception(error)
