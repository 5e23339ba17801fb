"""Stanford Cars: 196 models, in the layout that was published.

Nothing is downloaded. The address of the publication is gone; copies of its
files exist elsewhere.
"""

import numpy as np

from keras_warn.datasets import listing

NAME = "Stanford Cars"
TEST = "cars_test_annos_withlabels.mat"
FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")


def load_stanford_cars(folder):
    """Reads the files that describe Stanford Cars' pictures.

    Args:
        folder: The folder into which the published archives were unpacked:
            with `cars_train/`, `cars_test/`, `devkit/cars_meta.mat` and
            `devkit/cars_train_annos.mat`. The labels of the test pictures
            were published as another file,
            `cars_test_annos_withlabels.mat`: in the folder, or in `devkit/`.

    Returns:
        A `Listing` with the published splits "train" and "test" and `boxes`,
        in the order of the files' names, those to train with first. Its
        `left_out` counts pictures of these two folders that are not listed.

    Raises:
        FileNotFoundError: if the folder, one of these files, or all pictures
            are missing.
        ImportError: if SciPy is not installed.
        ValueError: if an entry cannot be read, or contradicts another.

    Example:

    >>> cars = load_stanford_cars("stanford_cars")  # doctest: +SKIP
    >>> len(cars.split("train")), cars.names[1]  # doctest: +SKIP
    (8144, 'Acura RL Sedan 2012')

    Reference:
        [3D Object Representations for Fine-Grained Categorization](
        https://doi.org/10.1109/ICCVW.2013.77)
    """
    needed = ["cars_train/", "cars_test/"]
    needed += ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat"]
    folder = listing.check_folder(folder, NAME, needed)
    tests = [path / TEST for path in (folder, folder / "devkit")]
    tests = [path for path in tests if path.is_file()]
    if not tests:
        raise listing.not_that_of(
            folder, NAME, [f"{TEST}, the labels of the test pictures"]
        )
    meta = folder / "devkit" / "cars_meta.mat"
    (names,) = listing.read_mat(meta, "class_names")
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(
            f"{meta} must name every class once. Received: {len(names)} "
            f"classes with {len(set(names))} names."
        )

    paths, labels, boxes, splits, missed = [], [], [], {}, 0
    annotations = {
        "train": folder / "devkit" / "cars_train_annos.mat",
        "test": tests[0],
    }
    for split, path in annotations.items():
        pictures = folder / f"cars_{split}"
        found = dict(sorted(_entries(path, names).items()))
        splits[split] = np.arange(len(paths), len(paths) + len(found))
        paths += [pictures / name for name in found]
        labels += [label for label, _ in found.values()]
        boxes += [box for _, box in found.values()]
        missed += listing.unlisted(pictures, paths)
    listing.check_pictures(NAME, folder, paths)
    return listing.Listing(
        name=NAME,
        paths=paths,
        labels=labels,
        names=names,
        splits=splits,
        boxes=boxes,
        left_out=listing.counted(not_listed=missed),
    )


def _entries(path, names):
    """Dictionary from pictures' names to their classes from 0 and boxes."""
    (rows,) = listing.read_mat(path, "annotations")
    missing = [name for name in FIELDS if name not in (rows.dtype.names or ())]
    if missing:
        raise ValueError(
            f"{path} must have the fields {', '.join(FIELDS)}. Received: none "
            f"called {' or '.join(missing)}."
        )
    found, lines = {}, {}
    for i, row in enumerate(rows, start=1):
        where = f"{path}, entry {i}"
        *box, label, name = (row[field] for field in FIELDS)
        listing.plain(where, "fname", name)
        label = listing.number(where, "class", label)
        if label > len(names):
            raise ValueError(
                f"{where}: class must be one of cars_meta.mat, 1 to "
                f"{len(names)}. Received: {label}."
            )
        if name in found:
            raise ValueError(
                f"{where}: a picture must be listed once. Received: {name}, "
                f"which is entry {lines[name]}, too."
            )
        found[name] = (label - 1, listing.box(where, *box))
        lines[name] = i
    if not found:
        raise ValueError(f"{path} must have entries. Received: none.")
    return found
