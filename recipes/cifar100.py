"""CIFAR-100, as `cifar10.py` trains CIFAR-10.

    python recipes/cifar100.py
    python recipes/cifar100.py --smoke

Results: not yet measured.
"""

import dataclasses
import functools

import archives
import cifar10

RECIPE = dataclasses.replace(
    cifar10.RECIPE,
    name="cifar100",
    load=functools.partial(archives.cifar, classes=100),
    tfds="cifar100",
    folder="cifar-100-binary",
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
