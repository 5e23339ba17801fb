"""KerasTuner's own chief and workers, who share the folder of a search."""

import os
import socket
import sys
import time

# Seconds that a worker waits for a chief: one that may be starting, and one
# that was there before and may be started again.
STARTING, RESTARTING = 30.0, 600.0
# Seconds between two attempts to reach it.
ASKING = 3.0


class Cluster:
    """What this process does: everything; or choose trials, or train them.

    `chief` is the host and port of the one that chooses, and `worker` the name
    of one that trains.
    """

    def __init__(self, chief=None, worker=None):
        self.worker, self._patience = worker, STARTING
        if chief is None and worker is not None:
            raise ValueError(
                "`worker` needs `chief`, the address of the process that "
                f"chooses trials. Received: worker={worker!r} alone."
            )
        # KerasTuner takes any name with "chief" in it for the chief's.
        if worker and (not worker.isidentifier() or "chief" in worker):
            raise ValueError(
                "`worker` must be a word of its own for each worker, without "
                f"'chief' in it. Received: {worker!r}."
            )
        host, _, port = (chief or "").rpartition(":")
        self.chief, self._address = chief, (host, int(port or 0))
        name = f"worker_{worker}" if worker else "chief"
        os.environ["KERASTUNER_TUNER_ID"] = name if chief else "tuner0"
        for key, value in (("IP", host), ("PORT", port)):
            os.environ.pop(f"KERASTUNER_ORACLE_{key}", None)
            if chief:
                os.environ[f"KERASTUNER_ORACLE_{key}"] = value
        if chief and not worker:
            try:
                socket.create_server(self._address).close()
            except OSError as error:
                raise OSError(
                    "`chief` must be an address of this machine that is free. "
                    f"Received: {chief} ({error.strerror})."
                ) from error

    def wait(self):
        """Waits for the chief, on a worker; KerasTuner would for an hour."""
        deadline = time.monotonic() + self._patience
        while self.worker:
            try:
                socket.create_connection(self._address, 5).close()
                self._patience = RESTARTING
                return
            except OSError as error:
                left = deadline - time.monotonic()
                words = f"Nobody answers at {self.chief}"
                if left < 0:
                    raise ConnectionError(
                        f"{words}. `chief` must be the address of the same "
                        f"command without --worker. Received: {self.chief}."
                    ) from error
                print(f"{words}. Waiting for {left:.0f} s.", file=sys.stderr)
                time.sleep(min(ASKING, left))
