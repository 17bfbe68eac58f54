"""How much time a run still needs: no number before one can be known."""

LEAST_S = 10.0
"""How long a run must have been embedding before its remaining time is estimated."""
LEAST_SHARE = 0.02
PATIENT_S = 60.0
"""After this time a smaller share than `LEAST_SHARE` is enough for an estimate."""


class TimeLeft:
    """Estimates the remaining time of a run from the share of it that is done.

    The time before the first clip or window (starting Ray, loading the model) does not count: it
    is spent once, and would make the first estimates many times too long.
    """

    def __init__(self) -> None:
        self._since_s = 0.0
        self._share = 0.0

    def estimate(self, share: float, now_s: float) -> float | None:
        """Return the remaining seconds, None as long as too little is done to know.

        Args:
            share: Share of the run that is done, 0 to 1.
            now_s: Current time, in seconds of a monotonic clock.
        """
        if not self._share or share < self._share:
            self._since_s, self._share = now_s, share
            return None
        spent_s, done = now_s - self._since_s, share - self._share
        is_enough = spent_s >= LEAST_S and (done >= LEAST_SHARE or spent_s >= PATIENT_S)
        if not is_enough or not done > 0 or share >= 1:
            return None
        return spent_s / done * (1 - share)
