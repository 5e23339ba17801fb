"""Labelled images: found in folders of folders, or listed in a table."""

import collections
import csv
import os
import pathlib
import re
import typing
import unicodedata

import numpy as np

from keras_warn import files

# What `find_images` takes for an image, by its name.
EXTENSIONS = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
    "".split()
)

# Folders that systems put among images, in lower case.
SYSTEM_FOLDERS = frozenset(
    ("#recycle", "$recycle.bin", "@eadir", "__macosx", "lost+found")
)

# How the splits of a data set are called, by folders and in tables.
SPLITS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
}


class ImageRecord(typing.NamedTuple):
    """An image file and its label.

    Attributes:
        path: `pathlib.Path` of the file.
        label: String, the name of its class or its number, as found.
        source: Where the label was found: a folder, or the line of a file.
        split: "train", "validation" or "test"; `None` in data without splits.
    """

    path: pathlib.Path
    label: str
    source: str
    split: str | None = None


def find_images(data) -> tuple:
    """Labelled images: of a folder of folders, or of a table.

    Args:
        data: A folder with a folder for each class, or with a folder for each
            split (such as `train/` and `Testing/`, see `SPLITS`), each with a
            folder for each class. Or a CSV file with columns `path` and
            `label`, and perhaps `split`. Paths in it are relative to its
            folder. A label is the name of a class, or its number.

    Returns:
        A pair: a list of `ImageRecord`, sorted by split, class and name, or in
        the order of the table; and what was skipped in the folders, as of
        `list_images`.

    Example:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder, "test.csv")
    ...     _ = table.write_text("path,label\\nbirds/1.jpg,finch\\n")
    ...     found, _ = find_images(table)
    >>> found[0].path.name, found[0].label
    ('1.jpg', 'finch')
    """
    data = pathlib.Path(data)
    if not data.exists():
        raise FileNotFoundError(f"{data} does not exist.")
    if data.is_dir():
        return _in_folders(data)
    return _in_table(data), collections.Counter()


def list_images(folder) -> tuple:
    """Image files in a folder and its folders, by their names.

    Links to folders are followed.

    Returns:
        A pair: a sorted list of `pathlib.Path`s, and what else is there, a
        `collections.Counter` of reasons why it was skipped: "hidden",
        "*.txt", "@eaDir".
    """
    paths, skipped = [], collections.Counter()

    def fail(error):
        raise error

    for parent, folders, names in os.walk(
        folder, onerror=fail, followlinks=True
    ):
        folders[:] = _entered(folder, parent, folders, skipped)
        for name in sorted(names):
            if reason := _not_an_image(name):
                skipped[reason] += 1
            else:
                paths.append(pathlib.Path(parent, name))
    return paths, skipped


def described(skipped) -> str:
    """In words, what `list_images` or `find_images` skipped.

    Example:

    >>> described({"hidden": 2, "*.heic": 1})
    '2 hidden, 1 *.heic'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())


def split_of(folder) -> str | None:
    """The split that the name of a folder means, in any case, or `None`.

    Example:

    >>> split_of("Training"), split_of("val2017"), split_of("trainval")
    ('train', 'validation', None)
    """
    words = re.split("[^a-z]+", folder.casefold())
    splits = {SPLITS[word] for word in words if word in SPLITS}
    return splits.pop() if len(splits) == 1 else None


def class_numbers(found, classes, names=None, folders=False) -> tuple:
    """The numbers of the classes that labels name.

    A label that is a name in `names` means that class; otherwise it must be a
    number from 0. Without `names`, labels that are folders, or that are not
    all numbers, are the classes' names, and class `i` is the `i`-th of them in
    alphabetical order, as `keras.utils.image_dataset_from_directory` numbers
    them: 0, 1, 10, 2. Names are the same in all forms of Unicode.

    Args:
        found: List of `ImageRecord`.
        classes: Integer, the number of classes `n` of the model.
        names: Names of the classes, all of them, or `None`.
        folders: Whether labels are the names of folders.

    Returns:
        A pair: integers `(len(found),)`, and the names of the classes, or
        `None` where labels are numbers and `names` is not given.

    Raises:
        ValueError: if a label is no class, or the labels are not as many as
            the classes and there are no `names` to number them by; or if
            folders are numbers whose order is not that of the alphabet, and
            none of `names`: either order could be meant.

    Example:

    >>> birds = ("wren", "finch")
    >>> found = [ImageRecord(f"{bird}.jpg", bird, ".") for bird in birds]
    >>> numbers, names = class_numbers(found, 2)
    >>> numbers.tolist(), names
    ([1, 0], ['finch', 'wren'])
    """
    firsts = {}
    for one in found:
        firsts.setdefault(one.label, one)
    labels = sorted(firsts)
    if names is None and (folders or not all(map(_is_number, labels))):
        if len(labels) != classes:
            raise ValueError(
                f"Found {len(labels)} different "
                f"label{'' if len(labels) == 1 else 's'} "
                f"({_first(map(repr, labels))}) for the {classes} classes of "
                "the model. Give the names of all its classes, in their order."
            )
        names = labels
    elif folders:
        numbered = [label for label in labels if label not in names]
        if all(map(_is_number, numbered)) and numbered != sorted(
            numbered, key=int
        ):
            raise ValueError(
                "Class folders must be called by the names of the classes "
                f"where Keras orders them as {_first(numbered)}. Received: "
                f"folders such as {firsts[numbered[0]].source}, for the names "
                f"{_first(names)}. Rename the folders, or give a table."
            )
    numbers = {
        label: class_number(label, classes, names, one)
        for label, one in firsts.items()
    }
    return np.array([numbers[one.label] for one in found], "int64"), names


def class_number(label, classes, names=None, found=None) -> int:
    """The number of the class that a string names.

    Args:
        label: String, a name among `names`, or a number from 0.
        classes: Integer, the number of classes `n`.
        names: Names of the classes, or `None`.
        found: The `ImageRecord` that the label is of, for the error.

    Example:

    >>> class_number("wren", 2, ["finch", "wren"]), class_number("0", 2)
    (1, 0)
    """
    where = "" if found is None else f" of {found.path} ({found.source})"
    name, *known = [
        unicodedata.normalize("NFC", one) for one in (label, *(names or ()))
    ]
    count = known.count(name)
    if count == 1:
        return known.index(name)
    if count > 1:
        raise ValueError(
            f"The class {label!r}{where} is the name of {count} classes. Give "
            "its number instead."
        )
    if _is_number(label) and int(label) < classes:
        return int(label)
    rule = f"a number from 0 to {classes - 1}"
    if names is not None:
        rule = f"one of the {len(names)} names of the classes, or {rule}"
    raise ValueError(f"The class {label!r}{where} must be {rule}.")


def _not_an_image(name):
    """Why a file is skipped, by its name; "" if it is not."""
    if name.startswith("."):
        return "hidden"
    suffix = pathlib.Path(name).suffix
    if suffix.lower() in EXTENSIONS:
        return ""
    return f"*{suffix}" if suffix else "without a suffix"


def _entered(root, parent, names, skipped):
    """Those of the folders in `parent` that may hold images, sorted."""
    entered = []
    for name in sorted(names):
        if name.startswith("."):
            skipped["hidden"] += 1
        elif name.casefold() in SYSTEM_FOLDERS:
            skipped[name] += 1
        elif _leads_back(pathlib.Path(root), pathlib.Path(parent, name)):
            skipped["link to a folder that holds it"] += 1
        else:
            entered.append(name)
    return entered


def _leads_back(root, folder):
    """Whether a folder is a link to one on the way to it, from `root` on."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(
        parent.resolve().is_relative_to(target)
        for parent in folder.parents
        if parent.is_relative_to(root)
    )


def _in_folders(data):
    skipped = collections.Counter()
    folders = _folders(data, skipped)
    # A class may be called "train", too: images lie in it, not folders.
    splits = {
        folder: split_of(folder.name)
        for folder in folders
        if split_of(folder.name)
        and any(path.is_dir() for path in folder.iterdir())
    }
    if not splits:
        return _in_classes(data, folders, None, skipped), skipped
    listed = ", ".join(folder.name for folder in splits)
    others = [folder.name for folder in folders if folder not in splits]
    if others:
        raise ValueError(
            f"{data} must hold folders of classes, or of splits with folders "
            f"of classes. It holds the splits {listed} and, beside them, "
            f"{', '.join(others)}."
        )
    if len(set(splits.values())) < len(splits):
        raise ValueError(
            f"{data} must hold a folder for each split (train, validation and "
            f"test). It holds several for one: {listed}."
        )
    found = []
    for folder, split in splits.items():
        inner = _folders(folder, skipped)
        found += _in_classes(folder, inner, split, skipped)
    return found, skipped


def _folders(data, skipped):
    """The folders in a folder that may hold images."""
    names = []
    for path in data.iterdir():
        if path.is_dir():
            names.append(path.name)
        else:
            skipped[_not_an_image(path.name) or "image outside of folders"] += 1
    return [data / name for name in _entered(data, data, names, skipped)]


def _in_classes(data, folders, split, skipped):
    """The images in the folders of classes."""
    if not folders:
        raise ValueError(
            f"{data} must hold a folder for each class, with images in them. "
            "It holds no folders."
        )
    found, inner = [], []
    for folder in folders:
        paths, others = list_images(folder)
        if not paths:
            raise ValueError(
                f"The class folder {folder} holds no images: no file that "
                f"ends in {', '.join(sorted(EXTENSIONS))}. It holds "
                f"{described(others) or 'nothing'}."
            )
        skipped += others
        found += [
            ImageRecord(
                path, files.displayed(folder.name), f"in {folder}", split
            )
            for path in paths
        ]
        below = [path.relative_to(folder).parts for path in paths]
        inner.append({parts[0] for parts in below if len(parts) > 1})
    shared = sorted(set.intersection(*inner))
    if len(folders) > 1 and len(shared) > 1:
        raise ValueError(
            f"{data} must hold a folder for each class, or for each split, "
            f"called train, validation or test. Its folders "
            f"{_first(path.name for path in folders)} hold images in folders "
            f"of the same names: {_first(shared)}."
        )
    return found


def _first(names):
    """The first of some names, in words."""
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _in_table(data):
    found = []
    try:
        # The mark that spreadsheets put before UTF-8 is no part of a name.
        with data.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = [x.strip().casefold() for x in rows.fieldnames or []]
            rows.fieldnames = columns
            missing = [c for c in ("path", "label") if c not in columns]
            if missing:
                raise ValueError(
                    f"{data} must be a folder of class folders, or a table "
                    "(CSV, with commas) whose first line names the columns "
                    f"path and label. It lacks {' and '.join(missing)}; its "
                    f"first line has {columns}."
                )
            for row in rows:
                source = f"{data}, line {rows.line_num}"
                for column in ("path", "label"):
                    if not (row[column] or "").strip():
                        raise ValueError(f"{source}, has no {column}.")
                split = None
                if "split" in columns:
                    word = (row["split"] or "").strip()
                    split = SPLITS.get(word.casefold())
                    if split is None:
                        raise ValueError(
                            f"{source}: split must be one of "
                            f"{', '.join(SPLITS)}. Received: {word!r}."
                        )
                path = data.parent / row["path"].strip()
                found.append(
                    ImageRecord(path, row["label"].strip(), source, split)
                )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{data} must be a folder of class folders, or a table (CSV) in "
            f"UTF-8. It is not UTF-8: {error.reason} at byte {error.start}."
        ) from error
    except csv.Error as error:
        raise ValueError(
            f"{data}, line {rows.reader.line_num}, is not CSV: {error}."
        ) from error
    if not found:
        raise ValueError(f"{data} has no lines but the names of its columns.")
    return found


def _is_number(label):
    return label.isascii() and label.isdecimal()


def check_images(name, folder, paths) -> None:
    """Raises if a folder has none of the images that a data set lists."""
    if not any(path.is_file() for path in paths):
        first = f", such as {paths[0]}" if paths else ""
        raise FileNotFoundError(
            f"`folder` must have the images of {name}. Received: {folder}, "
            f"with none of the {len(paths)} that are listed{first}."
        )
