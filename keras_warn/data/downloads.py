"""Data sets of TensorFlow Datasets, downloaded where they are not there."""

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Where most of them lie, and seconds to wait for its answer: TensorFlow
# Datasets would retry for minutes.
HOST = "https://storage.googleapis.com"
TIMEOUT = 5


def prepared(name, advice, data_dir=None) -> "tfds.core.DatasetBuilder":
    """Downloads a data set of TensorFlow Datasets, unless it is there.

    Args:
        name: What TensorFlow Datasets calls it.
        advice: A sentence: what to do where it cannot be had.
        data_dir: Folder of prepared data sets, or `None` for the usual one.

    Returns:
        A `tfds.core.DatasetBuilder`.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} needs the package tensorflow-datasets: `pip install "
            f"tensorflow-datasets`. {advice}"
        ) from error
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        try:
            urllib.request.urlopen(HOST, timeout=TIMEOUT).close()
        except urllib.error.HTTPError:
            pass  # which is an answer
        except OSError as error:
            raise ConnectionError(
                f"{name} is not on this machine, and {HOST} cannot be reached "
                f"to download it ({error}). {advice}"
            ) from error
        builder.download_and_prepare()
    return builder
