"""What a run tells Prometheus, through Ray; `infra/observability.md` has the names.

The driver counts what is committed, by the receipts, so that a shard that is tried twice counts
once. The actors tell how busy their models are, which no receipt knows.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.table.commit_record import CommitRecord

_WINDOWS_A_CALL = [float(1 << n) for n in range(12)]


class RunMetrics:
    """The driver's: what has been committed, what has failed."""

    def __init__(self) -> None:
        self._shards = Counter("passtream_shards", "Shards committed.")
        self._clips = Counter("passtream_clips", "Clips committed, errors included.")
        self._errors = Counter("passtream_errors", "Clips in errors.", tag_keys=("error_class",))
        self._windows = Counter("passtream_windows", "Windows embedded and committed.")
        self._audio = Counter("passtream_audio_seconds", "Seconds of audio committed.")
        self._stages = Counter(
            "passtream_stage_seconds", "Seconds that committed shards took.", tag_keys=("stage",)
        )
        self._failed_tries = Counter("passtream_failed_tries", "Tries of shards that failed.")
        self._open = Gauge("passtream_open_shards", "Shards that actors have open.")
        self._waiting = Gauge("passtream_waiting_shards", "Shards that nobody has begun.")
        self._actors = Gauge("passtream_actors", "Model processes.", tag_keys=("state",))

    def committed(self, record: CommitRecord) -> None:
        """A shard is committed."""
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

    def attempt_failed(self) -> None:
        """A try of a shard failed."""
        self._failed_tries.inc(1)

    def shards(self, n_open: int, n_waiting: int) -> None:
        """How many are open, and how many nobody has begun."""
        self._open.set(n_open)
        self._waiting.set(n_waiting)

    def actors(self, n_ready: int, n_starting: int) -> None:
        """How many have their model, and how many load it or wait for a place."""
        self._actors.set(n_ready, {"state": "ready"})
        self._actors.set(n_starting, {"state": "starting"})


class ModelMetrics:
    """An actor's: how busy its model is, and how full its calls."""

    def __init__(self) -> None:
        self._seconds = Counter(
            "passtream_model_seconds",
            "Seconds that models computed, or were idle with shards open.",
            tag_keys=("state",),
        )
        self._windows = Histogram(
            "passtream_call_windows", "Windows in a call of a model.", _WINDOWS_A_CALL
        )

    def answered(self, n_windows: int, idle_s: float, compute_s: float) -> None:
        """A model has answered; see `DynamicBatcher`."""
        if n_windows:
            self._windows.observe(n_windows)
        for state, seconds in (("idle", idle_s), ("compute", compute_s)):
            if seconds > 0:
                self._seconds.inc(seconds, {"state": state})
