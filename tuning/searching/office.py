"""One process, or a chief that chooses trials and workers that train them.

KerasTuner's own chief and workers, told by its environment variables. They
share the folder of the search.
"""

import dataclasses
import os
import socket
import sys
import time

# How long a worker waits for a chief: one that may be starting, and one that
# was there before and may be started again.
STARTING, RESTARTING = 30.0, 600.0
# Seconds between two attempts, and for one.
PAUSE, PATIENCE = 1.0, 5.0

CHIEF, ALONE = "chief", "tuner0"


@dataclasses.dataclass
class Office:
    """What this process does in a search.

    Attributes:
        address: Pair of the host and the port at which the chief listens, or
            `None` for a single process.
        worker: The worker's name, or `None` for the chief.
    """

    address: tuple | None = None
    worker: str | None = None
    _met: bool = dataclasses.field(default=False, init=False)

    @property
    def is_chief(self):
        return self.address is not None and self.worker is None

    @property
    def is_worker(self):
        return self.worker is not None

    @property
    def name(self):
        """What KerasTuner calls this process."""
        if self.address is None:
            return ALONE
        return CHIEF if self.worker is None else f"worker_{self.worker}"

    def announce(self):
        """Tells KerasTuner."""
        os.environ["KERASTUNER_TUNER_ID"] = self.name
        for name in ("IP", "PORT"):
            os.environ.pop(f"KERASTUNER_ORACLE_{name}", None)
        if self.address is not None:
            host, port = self.address
            os.environ["KERASTUNER_ORACLE_IP"] = host
            os.environ["KERASTUNER_ORACLE_PORT"] = str(port)

    def check_free(self):
        """Raises `OSError` unless a chief can listen at the address."""
        if self.is_chief:
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    one.bind(self.address)
                except OSError as error:
                    raise OSError(
                        "`chief` must be an address of this machine that is "
                        f"free. Received: {self} ({error.strerror})."
                    ) from error

    def wait(self):
        """Waits for the chief, on a worker.

        KerasTuner would, too: for an hour, and without a word.

        Raises:
            ConnectionError: if it does not come.
        """
        if not self.is_worker or self._answers():
            self._met = True
            return
        seconds = RESTARTING if self._met else STARTING
        print(
            f"Nobody answers at {self}. Waiting {seconds:.0f} seconds for the "
            "chief: the same command without --worker.",
            file=sys.stderr,
            flush=True,
        )
        deadline = time.monotonic() + seconds
        while not self._answers():
            if time.monotonic() > deadline:
                raise ConnectionError(
                    "`chief` must be the address of a chief. Received: "
                    f"{self}, where nobody answers. Start the chief by the "
                    "same command without --worker."
                )
            time.sleep(PAUSE)
        self._met = True

    def _answers(self):
        try:
            socket.create_connection(self.address, PATIENCE).close()
        except OSError:
            return False
        return True

    def __str__(self):
        return ":".join(map(str, self.address))


def parse(chief, worker):
    """The `Office` that a command line asks for.

    Args:
        chief: String, host and port, or `None`.
        worker: String, or `None`.

    Raises:
        ValueError: if they are not.

    Example:

    >>> parse("127.0.0.1:4500", "a").name
    'worker_a'
    """
    if chief is None:
        if worker is not None:
            raise ValueError(
                "`worker` needs `chief`, the address of the process that "
                f"chooses trials. Received: worker={worker!r} alone."
            )
        return Office()
    host, _, port = chief.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(
            "`chief` must be a host and a port, such as 127.0.0.1:4500. "
            f"Received: {chief!r}."
        )
    # KerasTuner takes any name with "chief" in it for the chief's.
    if worker is not None and (not worker.isidentifier() or CHIEF in worker):
        raise ValueError(
            "`worker` must be a word, other than the names of the other "
            f"workers, and without 'chief' in it. Received: {worker!r}."
        )
    return Office((host, int(port)), worker)
