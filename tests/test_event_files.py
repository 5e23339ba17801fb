"""Files that TensorBoard reads, and errors of their disk."""

import resource

import pytest
from support import in_tensorboard

from keras_warn._event_files import EventFile

pytest.importorskip("tensorboard")


# Of the thread of TensorBoard's writer; we raise it again.
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
def test_a_full_disk_is_said_of_the_folder(tmp_path):
    """A limit on the size of files stands for it."""
    file = EventFile(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match=rf"`log_dir` must .*{tmp_path}"):
            for step in range(100):
                file.scalar("curve", step, 0.5)
            file.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_what_a_killed_process_wrote_later_is_not_shown(tmp_path):
    """Not even of curves that the one which resumes does not write."""
    killed = EventFile(tmp_path)
    killed.start(0)
    for step in range(4):
        killed.scalar("curve", step, step)
        killed.scalar("other", step, step)
    killed.flush()
    # What has no end, of the last step.
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    resumed = EventFile(tmp_path)
    resumed.start(2)
    resumed.scalar("curve", 2, 7)
    resumed.close()
    found = {
        tag: [(one.step, *one.tensor_proto.float_val) for one in events]
        for tag, events in in_tensorboard(tmp_path).items()
    }
    assert found == {
        "curve": [(0, 0), (1, 1), (2, 7)],
        "other": [(0, 0), (1, 1)],
    }
