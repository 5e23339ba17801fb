"""Fresh processes, without the seconds that importing Keras takes.

A server imports Keras once for all tests of a process. What it forks has
imported Keras, and nothing else: it knows no model, nothing of this package
and no device, as a new process does not.
"""

import gc
import multiprocessing
import os
import pathlib
import runpy
import signal
import sys
import tempfile
import time
import traceback

import keras

# Other backends do not go along with forks: each process begins anew.
_FORKS = sys.platform == "linux" and keras.backend.backend() == "tensorflow"
CONTEXT = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
if _FORKS:
    CONTEXT.set_forkserver_preload(["keras"])


class Process:
    """A process that runs a script.

    Args:
        script: A path, or a string of code.
        arguments: Those of its command line.
        folder: The folder to run in. Defaults to this process's.

    Attributes:
        returncode: As of `subprocess.Popen`; minus a signal's number if that
            ended it.
        stdout: What it has printed, once it has been waited for.
        stderr: The same of errors.
        seconds: How long it had a processor, if it came to its end.
    """

    def __init__(self, script, *arguments, folder="."):
        self._files = tempfile.TemporaryDirectory(prefix="fresh-")
        self._process = CONTEXT.Process(
            target=_run,
            args=(
                script,
                [str(argument) for argument in arguments],
                pathlib.Path(folder).absolute(),
                pathlib.Path(self._files.name),
            ),
        )
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        """`None` while it runs."""
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=600):
        """Waits until it ends."""
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
            self._process.join()
            raise TimeoutError(f"Not done in {timeout} s.\n{self._read(2)}")
        self.stdout, self.stderr = self._read(1), self._read(2)
        self.seconds = float(self._read("seconds") or "nan")
        self._files.cleanup()
        return self

    def _read(self, name):
        path = pathlib.Path(self._files.name) / str(name)
        return path.read_text("utf-8") if path.exists() else ""


def run(script, *arguments, **options):
    """A `Process` that has ended, without an error."""
    process = Process(script, *arguments, **options).wait()
    assert process.returncode == 0, process.stderr[-2000:]
    return process


def _run(script, arguments, folder, files):
    """What a process does, as `python script` and `python -c script` do."""
    for number in (1, 2):
        file = os.open(files / str(number), os.O_CREAT | os.O_WRONLY)
        os.dup2(file, number)
    os.chdir(folder)
    gc.freeze()  # as `conftest.py` does
    # As in a terminal: what runs in the background may ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    named = isinstance(script, pathlib.Path)
    sys.argv = [str(script) if named else "-c", *arguments]
    try:
        if named:
            sys.path.insert(0, str(script.parent))
            runpy.run_path(str(script), run_name="__main__")
        else:
            exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        (files / "seconds").write_text(str(time.process_time()))
