"""Your own images: class folders, or a table of paths and labels.

`keras.utils.image_dataset_from_directory` reads folders alone: no tables,
boxes, groups or splits, and its errors do not name the file.
"""

import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np

from keras_warn.data import image_dataset
from keras_warn.data import image_files


def load_image_folder(data) -> image_dataset.ImageDataset:
    """Finds the images of a folder, or of a table.

    Args:
        data: A folder with a folder for each class; or one with folders for
            splits, such as `train/`, `val/` and `test/` (in any of the
            spellings of `keras_warn.data.image_files.SPLITS`), each with a
            folder for each class; or a CSV file with the columns `path`,
            `label` and perhaps `split`. Paths in it are relative to its
            folder.

    Returns:
        An `ImageDataset` with the splits that there are. Without any, all
        images are in "train". Classes are numbered in the alphabetical order of
        their names, as `keras.utils.image_dataset_from_directory` numbers
        them: 0, 1, 10, 2. What else the folders hold, and was skipped, is
        counted in `skipped`, and a warning names it.

    Raises:
        OSError: if `data` cannot be read, or none of the images exists.
        ValueError: if there is a class without images, or one with none to
            train with, or fewer than two classes; or if a line of the table
            cannot be read, or names an image again.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("finch/1.jpg", "finch/2.jpg", "wren/1.jpg"):
    ...         path = pathlib.Path(folder, name)
    ...         path.parent.mkdir(exist_ok=True)
    ...         path.touch()
    ...     birds = load_image_folder(folder)
    >>> birds.names, birds.labels.tolist()
    (('finch', 'wren'), [0, 0, 1])
    """
    data = Path(data)
    found, skipped = image_files.find_images(data)
    if skipped:
        warnings.warn(
            f"{data} holds more than the {len(found):,} images that are "
            f"read. Skipped: {image_files.described(skipped)}.",
            stacklevel=2,
        )
    _check_once(found)
    labels = [unicodedata.normalize("NFC", one.label) for one in found]
    splits = np.array([one.split or "train" for one in found])
    names = sorted(set(labels))
    if len(names) < 2:
        raise ValueError(
            "`data` must have two classes, or more. Received: "
            f"{data}, where all {len(found)} images are of {names[0]!r}."
        )
    trained = {labels[i] for i in np.flatnonzero(splits == "train")}
    for one, label, split in zip(found, labels, splits, strict=True):
        if label not in trained:
            raise ValueError(
                "Every class must have images to train with. Received: "
                f"{label!r}, of {one.path} ({one.source}), in {split} alone."
            )
    numbers = {name: i for i, name in enumerate(names)}
    paths = [one.path for one in found]
    image_files.check_images("the data set", data, paths)
    return image_dataset.ImageDataset(
        name=data.resolve().stem,
        paths=paths,
        labels=[numbers[label] for label in labels],
        names=names,
        splits={
            name: np.flatnonzero(splits == name)
            for name in dict.fromkeys(image_files.SPLITS.values())
            if name in splits
        },
        skipped=skipped,
    )


def _check_once(found):
    """Raises where one file is found twice, perhaps through links."""
    seen = {}
    for one in found:
        first = seen.setdefault(os.path.realpath(one.path), one)
        if first is not one:
            raise ValueError(
                f"{one.source}: an image must be listed once. Received: "
                f"{one.path}, which is in {first.source}, too."
            )
