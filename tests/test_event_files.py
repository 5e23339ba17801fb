"""Files of several kinds in one folder, and summaries made ready elsewhere."""

import resource

import pytest

from keras_warn import _event_files
from keras_warn._event_files import EventFile


def summaries(folder):
    """All summaries in a folder, by the ends of the names of their files."""
    return {
        path.suffix: [
            (event.step, event.summary)
            for event in _event_files.read_events(path)
            if event.HasField("summary")
        ]
        for path in folder.glob("*tfevents*")
    }


def test_a_ready_summary_comes_back_as_it_was(tmp_path):
    from tensorboard.compat.proto import summary_pb2

    summary = summary_pb2.Summary()
    summary.value.add(tag="ready", simple_value=7)
    file = EventFile(tmp_path, ".kind")
    file.summary(summary, 5)
    file.summary(summary)
    file.close()
    assert summaries(tmp_path) == {".kind": [(5, summary), (0, summary)]}


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


def test_damage_hides_no_more_than_what_follows(tmp_path):
    file = EventFile(tmp_path)
    for step in range(3):
        file.scalar("curve", step, 0.5)
    file.close()
    content = bytearray(file.path.read_bytes())
    content[-20:] = b"\xff" * 16 + content[-4:]
    file.path.write_bytes(content)
    steps = [event.step for event in _event_files.read_events(file.path)]
    assert steps == [0, 0, 1]


def test_dropping_steps_leaves_other_kinds_alone(tmp_path):
    for suffix in (".one", ".other"):
        file = EventFile(tmp_path, suffix)
        for step in (2, 3):
            file.scalar("curve", step, 0.5)
        file.close()
    again = EventFile(tmp_path, ".one")
    again.drop_steps(3)
    again.scalar("curve", 3, 0.25)
    again.close()
    steps = sorted(
        (path.suffix, event.step)
        for path in tmp_path.glob("*tfevents*")
        for event in _event_files.read_events(path)
        if event.HasField("summary")
    )
    assert steps == [(".one", 2), (".one", 3), (".other", 2), (".other", 3)]
