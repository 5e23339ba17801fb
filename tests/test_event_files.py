"""Files that TensorBoard reads, and errors of their disk."""

import pytest
from support import in_tensorboard

from keras_warn._event_files import EventFile

pytest.importorskip("tensorboard")


def test_what_a_killed_process_wrote_later_is_not_shown(tmp_path):
    """Not even of curves that the one which resumes does not write."""
    killed = EventFile(tmp_path)
    killed.start(0)
    for step in range(4):
        killed.scalar("curve", step, step)
        killed.scalar("other", step, step)
    killed.flush()
    # What has no end, of the last step; in a file that is seconds older.
    (path,) = tmp_path.iterdir()
    older = tmp_path / "events.out.tfevents.1.killed"
    older.write_bytes(path.read_bytes()[:-3])
    path.unlink()
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
