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

    def begin(self, trial, words, epochs):
        """A trial begins."""
        of = f" of {self.max_trials}" if self.max_trials else ""
        print(
            f"\nTrial {trial}{of}, {_count(epochs, 'epoch')}: {words}",
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
                print(
                    f"{_count(len(found), 'trial')} ended before.", flush=True
                )
            return
        for one in found:
            if one["trial"] not in self._seen:
                print(self._line(one, found), flush=True)
        if known - self._seen:
            self._seen = known
            print(self._outlook(found), flush=True)

    def _line(self, one, found):
        if one["status"] == records.FAILED:
            reason = one["reason"].partition("\n")[0]
            return f"Trial {one['trial']} failed: {reason}"
        added = 100 * one["cost"]["operations_added"]
        return (
            f"Trial {one['trial']}: accuracy "
            f"{100 * one['accuracy']:.1f} % on validation after "
            f"{_count(one['epochs'], 'epoch')}, {added:+.1f} % operations, in "
            f"{one['seconds']:.0f} s"
        )

    def _outlook(self, found):
        words = []
        best = records.best(found, self.objective)
        if best is not None:
            words.append(
                f"Best so far: trial {best['trial']}, "
                f"{100 * best['accuracy']:.1f} %"
            )
        words.append(f"{_count(len(found), 'trial')} ended")
        times = [one["seconds"] for one in found if one["seconds"]]
        if self.max_trials and times:
            workers = len({one["worker"] for one in found})
            left = max(0, self.max_trials - len(found))
            minutes = left * statistics.mean(times) / workers / 60
            words.append(f"about {minutes:.0f} min left")
        return "; ".join(words)


def _count(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"
