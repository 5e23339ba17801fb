"""CUB-200-2011: birds of 200 species, in the layout it is published in.

Nothing is downloaded. A folder with some of the classes, in the same layout, is
read as well.
"""

import math

import numpy as np

from keras_warn.datasets.listing import Listing
from keras_warn.datasets.listing import check_folder
from keras_warn.datasets.listing import check_pictures
from keras_warn.datasets.listing import read_lines

IMAGES = "images.txt"
LABELS = "image_class_labels.txt"
SPLIT = "train_test_split.txt"
BOXES = "bounding_boxes.txt"
CLASSES = "classes.txt"


def load_cub200(folder):
    """Reads the files that describe CUB-200-2011's pictures.

    Args:
        folder: The folder `CUB_200_2011` of the published archive: with
            `images/`, `images.txt`, `image_class_labels.txt`,
            `train_test_split.txt`, `bounding_boxes.txt` and `classes.txt`.

    Returns:
        A `Listing` in the order of the pictures' numbers, with the splits
        "train" and "test", and the boxes around the birds. Names of classes
        are without their numbers: "Laysan Albatross".

    Raises:
        FileNotFoundError: if the folder or one of these files is missing, or
            all the pictures that they list.
        ValueError: if a line cannot be read, or is missing, or contradicts
            another.

    Example:

    >>> from keras_warn.datasets import load_cub200
    >>> birds = load_cub200("CUB_200_2011")  # doctest: +SKIP
    >>> len(birds), birds.names[1], len(birds.splits["train"])
    ... # doctest: +SKIP
    (11788, 'Laysan Albatross', 5994)

    Reference:
        [CUB-200-2011](https://www.vision.caltech.edu/datasets/cub_200_2011/)
    """
    folder = check_folder(
        folder,
        "CUB-200-2011",
        [IMAGES, LABELS, SPLIT, BOXES, CLASSES, "images/"],
    )
    classes = _Table(folder / CLASSES, _words)
    images = _Table(folder / IMAGES, _words)
    labels = _Table(folder / LABELS, _number)
    splits = _Table(folder / SPLIT, _flag)
    boxes = _Table(folder / BOXES, _box)

    for table in (labels, splits, boxes):
        table.check_keys(images)
    folders = {name: number for number, name in classes.values.items()}
    if len(folders) < len(classes.values):
        raise ValueError(
            f"{classes.path} must name every class once. Received: "
            f"{len(classes.values)} classes with {len(folders)} names."
        )
    seen = {}
    for key, name in images.values.items():
        label = labels.values[key]
        if label not in classes.values:
            raise ValueError(
                f"{labels.where(key)}: the class must be one of "
                f"{classes.path.name}. Received: {label}."
            )
        # A picture lies in the folder of its class.
        if folders.get(name.split("/")[0], label) != label:
            raise ValueError(
                f"{labels.where(key)}: the class must be that of the picture's "
                f"folder. Received: {label} for {name}."
            )
        if name in seen:
            raise ValueError(
                f"{images.where(key)}: a picture must be listed once. "
                f"Received: {name}, as in {images.where(seen[name])}."
            )
        seen[name] = key

    keys = sorted(images.values)
    paths = [folder / "images" / images.values[key] for key in keys]
    check_pictures("CUB-200-2011", folder, paths)
    numbers = {number: i for i, number in enumerate(sorted(classes.values))}
    train = np.array([splits.values[key] for key in keys], bool)
    return Listing(
        name="CUB-200-2011",
        paths=paths,
        labels=[numbers[labels.values[key]] for key in keys],
        names=[readable(classes.values[number]) for number in numbers],
        splits={
            "train": np.flatnonzero(train),
            "test": np.flatnonzero(~train),
        },
        boxes=[boxes.values[key] for key in keys],
    )


class _Table:
    """The lines of a file: a number, then what `parse` makes of the rest.

    Attributes:
        path: The file.
        values: Dictionary from the lines' numbers to their values.
        places: Dictionary from the lines' numbers to where they stand, such
            as "images.txt, line 1" with the whole path.
    """

    def __init__(self, path, parse):
        self.path = path
        self.values = {}
        self.places = {}
        for where, line in read_lines(path):
            self._add(where, line.strip(), parse)

    def _add(self, where, line, parse):
        key, _, rest = line.partition(" ")
        try:
            key, value = _number(key), parse(rest.strip())
        except ValueError as error:
            raise ValueError(
                f"{where}: {error}. Received: {line!r}."
            ) from error
        if key in self.values:
            raise ValueError(
                f"{where}: a number must be given once. Received: {line!r} "
                f"after {self.where(key)}."
            )
        self.values[key] = value
        self.places[key] = where

    def where(self, key):
        return self.places[key]

    def check_keys(self, images):
        """Whether this table is about the same pictures as `images`."""
        for key in images.values:
            if key not in self.values:
                raise ValueError(
                    f"{self.path} must have a line for every picture. "
                    f"Received: none for {key}, of {images.where(key)}."
                )
        for key in self.values:
            if key not in images.values:
                raise ValueError(
                    f"{self.where(key)}: the picture must be one of "
                    f"{images.path.name}. Received: {key}."
                )


def _words(text):
    if not text:
        raise ValueError("a number and a name must stand here")
    return text


def _number(text):
    # ASCII alone: `int` would take the digits of other scripts, too.
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError("numbers must be positive integers")
    return int(text)


def _flag(text):
    if text not in ("0", "1"):
        raise ValueError("1 (training) or 0 (test) must stand here")
    return text == "1"


def _box(text):
    """Top, left, bottom and right from "x y width height"."""
    try:
        x, y, width, height = map(float, text.split())
    except ValueError:
        x = y = width = height = math.nan
    # Comparisons with NaN are false.
    if not (
        width > 0
        and height > 0
        and all(map(math.isfinite, (x, y, width, height)))
    ):
        raise ValueError("x, y, a positive width and height must stand here")
    return y, x, y + height, x + width


def readable(name):
    """A class's name without its number: "Laysan Albatross"."""
    number, _, rest = name.partition(".")
    return (rest if number.isdecimal() and rest else name).replace("_", " ")
