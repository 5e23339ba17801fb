"""Stanford Dogs: 120 breeds, in the layout that is published.

Nothing is downloaded. Images are of ImageNet's training data: networks trained
on it have seen the test pictures.
"""

import xml.etree.ElementTree

import numpy as np

from keras_warn.datasets import listing

NAME = "Stanford Dogs"


def load_stanford_dogs(folder):
    """Reads the files that describe Stanford Dogs' pictures.

    Args:
        folder: The folder into which the published archives `images.tar`,
            `lists.tar` and, for boxes, `annotation.tar` were unpacked: with
            `Images/`, `train_list.mat` and `test_list.mat`, and perhaps
            `Annotation/`.

    Returns:
        A `Listing` with the published splits "train" and "test", in the order
        of the files' names. Where there is `Annotation/`, its `boxes` are the
        smallest that hold all dogs of a picture. `left_out` counts pictures
        that are in neither list.

    Raises:
        FileNotFoundError: if the folder, one of these files, or all pictures
            are missing.
        ImportError: if SciPy is not installed.
        ValueError: if an entry cannot be read, or contradicts another.

    Example:

    >>> dogs = load_stanford_dogs("StanfordDogs")  # doctest: +SKIP
    >>> len(dogs.split("train")), dogs.names[0]  # doctest: +SKIP
    (12000, 'Chihuahua')

    Reference:
        [Stanford Dogs](http://vision.stanford.edu/aditya86/ImageNetDogs/)
    """
    needed = ("Images/", "train_list.mat", "test_list.mat")
    folder = listing.check_folder(folder, NAME, needed)
    entries, classes = {}, {}
    for split in ("train", "test"):
        for where, name, label in _entries(folder / f"{split}_list.mat"):
            if name in entries:
                raise ValueError(
                    f"{where}: a picture must be listed once. Received: "
                    f"{name}, which is {entries[name][0]}, too."
                )
            entries[name] = (where, split, label)
            # A picture lies in the folder of its class.
            breed = name.split("/")[0]
            other, first = classes.setdefault(label, (breed, where))
            if breed != other:
                raise ValueError(
                    f"{where}: a class must have one folder. Received: "
                    f"{breed} for {label}, which is {other} in {first}."
                )
    breeds = {}
    for label, (breed, where) in classes.items():
        if breed in breeds:
            raise ValueError(
                f"{where}: a folder must be of one class. Received: {label} "
                f"for {breed}, which is {breeds[breed]}, too."
            )
        breeds[breed] = label

    numbers = {label: i for i, label in enumerate(sorted(classes))}
    names = sorted(entries)
    paths = tuple(folder / "Images" / name for name in names)
    listing.check_pictures(NAME, folder, paths)
    boxes = None
    if (folder / "Annotation").is_dir():
        boxes = [_box(folder / "Annotation", name) for name in names]
    splits = [entries[name][1] for name in names]
    return listing.Listing(
        name=NAME,
        paths=paths,
        labels=[numbers[entries[name][2]] for name in names],
        names=[readable(classes[label][0]) for label in numbers],
        splits={
            split: np.flatnonzero(np.array(splits) == split)
            for split in ("train", "test")
        },
        boxes=boxes,
        left_out=listing.counted(
            in_neither_list=listing.unlisted(folder / "Images", paths)
        ),
    )


def _entries(path):
    """Where, the picture's name and its class, for every entry of a list."""
    files, labels = listing.read_mat(path, "file_list", "labels")
    if len(files) != len(labels) or not len(files):
        raise ValueError(
            f"{path} must have a label for every file. Received: "
            f"{len(files)} files, {len(labels)} labels."
        )
    for i, (name, label) in enumerate(zip(files, labels, strict=True), 1):
        where = f"{path}, entry {i}"
        breed, _, file = str(name).partition("/")
        listing.plain(where, "a folder", breed)
        listing.plain(where, "a file", file)
        yield where, str(name), listing.number(where, "a label", label)


def _box(folder, name):
    """The smallest box that holds all dogs of a picture."""
    path = folder / name.rpartition(".")[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} must have a file for every picture. Received: none for "
            f"{name}."
        )
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (ValueError, xml.etree.ElementTree.ParseError) as error:
        raise ValueError(f"{path} must be XML. Received: {error}.") from error
    boxes = [
        listing.box(
            path,
            *(one.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")),
        )
        for one in root.iter("bndbox")
    ]
    if not boxes:
        raise ValueError(f"{path} must have a bndbox. Received: none.")
    boxes = np.array(boxes)
    return (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))


def readable(folder):
    """A breed without ImageNet's number: "Norwich terrier"."""
    number, _, rest = folder.partition("-")
    numbered = number[:1] == "n" and number[1:].isdecimal() and rest
    return (rest if numbered else folder).replace("_", " ")
