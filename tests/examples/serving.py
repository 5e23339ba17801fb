"""The server as a process."""

import pathlib
import signal
import socket
import time

import fresh

SERVER = pathlib.Path(__file__).parents[2] / "examples" / "server"
# Where neither Keras nor this package is installed.
ELSEWHERE = """
import runpy, sys
sys.modules["keras"] = sys.modules["keras_warn"] = None
folder, *sys.argv = sys.argv[1:]
sys.path.insert(0, folder)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Running:
    """A process that serves a model.

    Attributes:
        address: Such as `"http://127.0.0.1:8500"`.
        port: Its port.
        process: The `fresh.Process`.
    """

    def __init__(self, folder, *options):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = fresh.Process(
            ELSEWHERE,
            *(SERVER, SERVER / "server.py", folder),
            *("--port", self.port, *options),
        )
        end = time.monotonic() + 300
        while not self._listens():
            if self.process.returncode is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(self.process.wait().stderr)
            time.sleep(0.1)

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self, sent=signal.SIGTERM):
        """Asks it to end; returns what it wrote of errors."""
        self.process.send_signal(sent)
        return self.process.wait(60).stderr
