"""What cannot be downloaded is known in seconds, not minutes."""

import sys
import types
import urllib.error
import urllib.request

import pytest

from keras_warn.data import downloads


class Builder:
    """Of TensorFlow Datasets, whose data are not on this machine."""

    downloaded = False

    def is_prepared(self):
        return False

    def download_and_prepare(self):
        self.downloaded = True


@pytest.fixture
def answer(monkeypatch):
    """Decides what the network answers."""
    module = types.SimpleNamespace(builder=lambda name, data_dir: Builder())
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)

    def set_answer(function):
        def answered(url, timeout):
            assert timeout <= 10
            return function()

        monkeypatch.setattr(urllib.request, "urlopen", answered)

    return set_answer


def fail(error):
    def answered():
        raise error

    return answered


@pytest.mark.parametrize(
    "function",
    [
        lambda: types.SimpleNamespace(close=lambda: None),
        fail(urllib.error.HTTPError("url", 404, "Not Found", {}, None)),
    ],
    ids=["a page", "an error that is an answer"],
)
def test_a_host_that_answers_is_asked_for_the_data(answer, function):
    answer(function)
    assert downloads.prepared("birds", "Do without.").downloaded


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("refused"), TimeoutError("timed out")]
)
def test_nobody_answers(answer, error):
    answer(fail(error))
    with pytest.raises(
        ConnectionError, match=r"birds is not .* cannot be reached .* Do with"
    ):
        downloads.prepared("birds", "Do without.")
