"""What the builders share: a `Listing` becomes examples."""

import warnings

import numpy as np


def import_tfds():
    """The package tensorflow_datasets.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "Data sets of TensorFlow Datasets need the package "
            "tensorflow-datasets: `pip install tensorflow-datasets "
            "importlib_resources`."
        ) from error
    return tfds


def info(builder, features, **about):
    """What TensorFlow Datasets wants to know of a data set.

    Args:
        builder: The builder.
        features: Dictionary, what its examples have beside a picture, its
            name, a label and the index.
        **about: Passed on.

    Returns:
        A `tfds.core.DatasetInfo`.
    """
    tfds = import_tfds()
    return tfds.core.DatasetInfo(
        builder=builder,
        description=type(builder).__doc__,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(),
                "image/filename": tfds.features.Text(),
                # The names are read with the data.
                "label": tfds.features.ClassLabel(),
                "index": tfds.features.Scalar(np.int64),
                **features,
            }
        ),
        supervised_keys=("image", "label"),
        **about,
    )


def generators(builder, listing, folder):
    """Generators of a listing's splits, without what cannot be used.

    Args:
        builder: The builder.
        listing: A `Listing`.
        folder: The folder that it is of.

    Returns:
        Dictionary from the splits' names to generators of examples.
    """
    broken = listing.problems()
    if broken:
        path, reason = broken[0]
        warnings.warn(
            f"{len(broken)} pictures of {listing.name} cannot be used, and are "
            f"left out. The first: {path}: {reason}",
            stacklevel=2,
        )
        listing = listing.without(path for path, _ in broken)
    builder.info.features["label"].names = listing.names
    return {
        name: builder._generate_examples(listing, folder, indices)
        for name, indices in listing.splits.items()
    }


def examples(listing, folder, indices):
    """What every data set has of its examples.

    Args:
        listing: A `Listing` of files.
        folder: The folder that it is of.
        indices: Integers, which examples.

    Yields:
        Pairs, an index and a dictionary of features.
    """
    for i in map(int, indices):
        path = listing.paths[i]
        yield (
            i,
            {
                "image": path.read_bytes(),
                "image/filename": path.relative_to(folder).as_posix(),
                "label": int(listing.labels[i]),
                "index": i,
            },
        )
