"""Your own pictures: class folders, or a table of paths and labels."""

import csv
import os
import unicodedata
from pathlib import Path

import numpy as np

from keras_warn import images
from keras_warn.datasets import listing

# Names of folders and of the column `split`, and what they are called here.
SPLITS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}


def load_image_folder(data):
    """Finds the pictures of a folder, or of a table.

    Args:
        data: A folder with a folder for each class; or one with folders
            `train/` and `val/` or `validation/` or `test/`, each with a
            folder for each class; or a CSV file with the columns `path`,
            `label` and perhaps `split` (train, val, validation or test).
            Paths in it are relative to its folder.

    Returns:
        A `Listing` with the splits that there are. Without any, all pictures
        are in "train". Classes are numbered in the order of their names:
        alphabetical, as `keras.utils.image_dataset_from_directory` numbers
        them, or by value where all names are numbers.

    Raises:
        OSError: if `data` cannot be read, or none of the pictures exists.
        ValueError: if there is a class without pictures, or one with none to
            train with, or fewer than two classes; if a line of the table
            cannot be read, or names a picture again; or if the folder is that
            of a published data set, which has a reader of its own.

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
    if not data.is_dir():
        found = images.find_images(data)
        parts = _column(data, found)
    else:
        other = listing.looks_like(data)
        if other:
            raise ValueError(
                f"`data` looks like the folder of {other}, which has a reader "
                f"of its own. Received: {data}."
            )
        found, parts = _in_folders(data)
    _check_once(found)
    labels = [unicodedata.normalize("NFC", one.label) for one in found]
    names = sorted(set(labels))
    if all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=int)
    if len(names) < 2:
        raise ValueError(
            "`data` must have two classes, or more. Received: "
            f"{data}, where all {len(found)} pictures are of {names[0]!r}."
        )
    trained = {
        label
        for label, part in zip(labels, parts, strict=True)
        if part == "train"
    }
    for one, label, part in zip(found, labels, parts, strict=True):
        if label not in trained:
            raise ValueError(
                "Every class must have pictures to train with. Received: "
                f"{label!r}, of {one.path} ({one.source}), in {part} alone."
            )
    paths = [one.path for one in found]
    listing.check_pictures("the listing", data, paths)
    return listing.Listing(
        name=data.resolve().stem,
        paths=paths,
        labels=[names.index(label) for label in labels],
        names=names,
        splits={
            name: np.flatnonzero(np.array(parts) == name)
            for name in dict.fromkeys(SPLITS.values())
            if name in parts
        },
    )


def _in_folders(data):
    """`Found`s, and the split of each."""
    folders = [
        path
        for path in sorted(data.iterdir(), key=lambda path: path.name)
        if path.is_dir() and not path.name.startswith(".")
    ]
    # A class may be called "train", too: pictures lie in it, not folders.
    splits = [
        path
        for path in folders
        if path.name in SPLITS and any(one.is_dir() for one in path.iterdir())
    ]
    if not splits:
        found = images.find_images(data)
        return found, ["train"] * len(found)
    others = [path.name for path in folders if path not in splits]
    if others:
        raise ValueError(
            f"`data` must have folders of classes, or of splits "
            f"({', '.join(SPLITS)}) with folders of classes. Received: {data}, "
            f"with the split {splits[0].name} and, beside it, "
            f"{', '.join(others)}."
        )
    found, parts = [], []
    for path in splits:
        more = images.find_images(path)
        found += more
        parts += [SPLITS[path.name]] * len(more)
    return found, parts


def _column(data, found):
    """The split of each line of a table that `find_images` has read."""
    with data.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True, strict=True)
        if "split" not in rows.fieldnames:
            return ["train"] * len(found)
        words = [(row["split"] or "").strip() for row in rows]
    for one, word in zip(found, words, strict=True):
        if word not in SPLITS:
            raise ValueError(
                f"{one.source}: split must be one of {', '.join(SPLITS)}. "
                f"Received: {word!r}."
            )
    return [SPLITS[word] for word in words]


def _check_once(found):
    seen = {}
    for one in found:
        path = os.path.normpath(one.path)
        if path in seen:
            raise ValueError(
                f"{one.source}: a picture must be listed once. Received: "
                f"{one.path}, which is in {seen[path]}, too."
            )
        seen[path] = one.source
