"""How far a search is, in lines."""

import statistics
import time

from searching import records


class Progress:
    """Says what begins, what has ended, and how long it may still take.

    Args:
        objective: `"val_accuracy"` or `"val_loss"`.
        max_trials: How many trials there will be, or `None`.
    """

    def __init__(self, objective, max_trials):
        self.objective = objective
        self.max_trials = max_trials
        self.begun = time.monotonic()
        self._seen = None

    def begin(self, trial, values, epochs):
        """A trial begins."""
        of = f" of {self.max_trials}" if self.max_trials else ""
        words = " ".join(f"{name}={value}" for name, value in values.items())
        print(
            f"\nTrial {int(trial) + 1}{of}, {epochs} epochs: {words}",
            flush=True,
        )

    def ended(self, found):
        """Says what is new.

        Args:
            found: The records of all trials that have ended.
        """
        known = {one["trial"] for one in found}
        if self._seen is None:
            # Those of an earlier start are no news.
            self._seen = known
            if found:
                print(f"{len(found)} trials have ended before.", flush=True)
            return
        for one in found:
            if one["trial"] not in self._seen:
                print(self._line(one, found), flush=True)
        if known - self._seen:
            self._seen = known
            print(self._outlook(found), flush=True)

    def _line(self, one, found):
        number = int(one["trial"]) + 1
        if one["status"] == records.FAILED:
            reason = one["reason"].partition("\n")[0]
            return f"Trial {number} has failed: {reason}"
        cost = one["cost"]
        return (
            f"Trial {number}: accuracy {100 * one['accuracy']:.1f} % on "
            f"validation after {one['epochs']} epochs, "
            f"{100 * cost['operations_added']:+.1f} % operations, "
            f"in {one['seconds']:.0f} s"
        )

    def _outlook(self, found):
        words = []
        best = records.best(found, self.objective)
        if best is not None:
            words.append(
                f"best so far: trial {int(best['trial']) + 1}, "
                f"{100 * best['accuracy']:.1f} %"
            )
        words.append(f"{len(found)} trials have ended")
        times = [one["seconds"] for one in found if one["seconds"]]
        if self.max_trials and times:
            workers = len({one["worker"] for one in found})
            left = self.max_trials - len(found)
            minutes = left * statistics.mean(times) / workers / 60
            words.append(f"about {minutes:.0f} min left")
        return "; ".join(words)
