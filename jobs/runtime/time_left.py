"""An estimate of a run's remaining time, withheld until enough of the run is done."""

LEAST_S = 10.0
"""Shortest embedding time before an estimate, in seconds."""
LEAST_SHARE = 0.02
"""Smallest share of the run, 0 to 1, that must be done before an estimate."""
PATIENT_S = 60.0
"""Embedding time in seconds after which `LEAST_SHARE` no longer applies."""


class TimeLeft:
    """Estimator of a run's remaining time, from the share of the run that is done.

    The time before the first clip or window (starting Ray, loading the model) does not count. It is
    spent only once, and would make the first estimates many times too long.
    """

    def __init__(self) -> None:
        self._since_s = 0.0
        self._share = 0.0

    def estimate(self, share: float, now_s: float) -> float | None:
        """Return the remaining seconds, or None until enough of the run is done.

        Args:
            share: Share of the run that is done, 0 to 1. A share smaller than the first one
                restarts the estimate.
            now_s: Current time of a monotonic clock, in seconds.
        """
        if not self._share or share < self._share:
            self._since_s, self._share = now_s, share
            return None
        spent_s, done = now_s - self._since_s, share - self._share
        is_enough = spent_s >= LEAST_S and (done >= LEAST_SHARE or spent_s >= PATIENT_S)
        if not is_enough or not done > 0 or share >= 1:
            return None
        return spent_s / done * (1 - share)
