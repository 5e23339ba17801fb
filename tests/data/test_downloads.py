"""What cannot be downloaded is known in seconds, not minutes."""

import contextlib
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


@pytest.mark.parametrize(
    "error, there",
    [
        (None, True),
        # Which is an answer.
        (urllib.error.HTTPError("url", 404, "Not Found", {}, None), True),
        (TimeoutError("timed out"), False),
    ],
)
def test_a_host_that_answers_is_asked_for_the_data(monkeypatch, error, there):
    def answer(url, timeout):
        assert timeout <= 10
        if error:
            raise error
        return types.SimpleNamespace(close=lambda: None)

    module = types.SimpleNamespace(builder=lambda name, data_dir: Builder())
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    expected = pytest.raises(
        ConnectionError, match=r"birds is not .* cannot be reached .* Do with"
    )
    with contextlib.nullcontext() if there else expected:
        assert downloads.prepared("birds", "Do without.").downloaded
