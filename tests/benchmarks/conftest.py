import functools

import cluttered_mnist
import pytest


@pytest.fixture
def small_digits(monkeypatch):
    """The network of the digits' recipe and its training, for a test."""
    small = {**cluttered_mnist.SMOKE, "filters": (4,) * 5, "dense": 8}
    settings = functools.partial(cluttered_mnist.Settings, **small)
    del small["epochs"]  # an option
    monkeypatch.setattr(cluttered_mnist, "Settings", settings)
