"""Prometheus metrics of a run, exported by Ray; `infra/observability.md` lists their names.

The driver counts commit records, so that a shard with two attempts counts once. The actors report
how busy their models are, which commit records do not contain.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.table.commit_record import CommitRecord

_WINDOWS_PER_CALL = [float(1 << n) for n in range(12)]
"""Upper bounds of the histogram of windows per model call."""


class RunMetrics:
    """The driver's metrics: commits, failures, open shards and actors."""

    def __init__(self) -> None:
        self._shards = Counter("passtream_shards", "Shards committed.")
        self._clips = Counter("passtream_clips", "Clips committed, errors included.")
        self._errors = Counter("passtream_errors", "Clips in errors.", tag_keys=("error_class",))
        self._windows = Counter("passtream_windows", "Windows embedded and committed.")
        self._audio = Counter("passtream_audio_seconds", "Seconds of audio committed.")
        self._stages = Counter(
            "passtream_stage_seconds", "Seconds that committed shards took.", tag_keys=("stage",)
        )
        self._failed_tries = Counter("passtream_failed_tries", "Failed attempts at shards.")
        self._open = Gauge("passtream_open_shards", "Shards that actors have open.")
        self._waiting = Gauge("passtream_waiting_shards", "Shards that no actor has begun.")
        self._actors = Gauge("passtream_actors", "Model processes.", tag_keys=("state",))

    def record_commit(self, record: CommitRecord) -> None:
        """Count a committed shard."""
        self._shards.inc(1)
        for counter, value in (
            (self._clips, record.clips),
            (self._windows, record.windows),
            (self._audio, record.audio_s),
        ):
            if value:
                counter.inc(value)
        for error_class, n_clips in record.errors.items():
            self._errors.inc(n_clips, {"error_class": error_class})
        for stage, seconds in record.stage_s.items():
            if seconds:
                self._stages.inc(seconds, {"stage": stage})

    def record_failed_attempt(self) -> None:
        """Count a failed attempt at a shard."""
        self._failed_tries.inc(1)

    def set_shards(self, n_open: int, n_waiting: int) -> None:
        """Set the number of open shards and of shards that no actor has begun."""
        self._open.set(n_open)
        self._waiting.set(n_waiting)

    def set_actors(self, n_ready: int, n_starting: int) -> None:
        """Set the number of ready actors and of actors that load the model or wait for a node."""
        self._actors.set(n_ready, {"state": "ready"})
        self._actors.set(n_starting, {"state": "starting"})


class ModelMetrics:
    """An actor's metrics: how busy its model is, and how many windows its calls have."""

    def __init__(self) -> None:
        self._seconds = Counter(
            "passtream_model_seconds",
            "Seconds that models computed, or were idle with shards open.",
            tag_keys=("state",),
        )
        self._windows = Histogram(
            "passtream_call_windows", "Windows in a call of a model.", _WINDOWS_PER_CALL
        )

    def record_call(self, n_windows: int, idle_s: float, compute_s: float) -> None:
        """Record a call of the model, as reported by `DynamicBatcher`.

        Args:
            n_windows: Windows of the call.
            idle_s: Time that the model was idle before the call while shards were open, in seconds.
            compute_s: Time that the model computed, in seconds.
        """
        if n_windows:
            self._windows.observe(n_windows)
        for state, seconds in (("idle", idle_s), ("compute", compute_s)):
            if seconds > 0:
                self._seconds.inc(seconds, {"state": state})
