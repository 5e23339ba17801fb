"""UEC Food-100: Japanese dishes with boxes, in the layout it is published in.

Nothing is downloaded.
"""

from keras_warn.datasets import listing

NAME = "UEC Food-100"
CATEGORIES = "category.txt"
BOXES = "bb_info.txt"
# UEC Food-256 has the same layout, and more classes.
CLASSES = 100
FOLDS = 5


def load_uec_food100(folder):
    """Reads the files that describe UEC Food-100's pictures.

    An example is a box: what the picture shows in it is to be cut out. A
    photo with several dishes has several boxes, and lies, under the same
    number, in the folder of every class that it shows.

    No split is published. Here are five folds, of which each tests once what
    was trained on the others. They are drawn photo by photo, so that no photo
    is trained and tested with, and have the same share of every class. They
    depend on the files' names alone: everybody has the same.

    Args:
        folder: The folder `UECFOOD100` of the published archive: with
            `category.txt` and, for each class, a folder of its number with
            photos and `bb_info.txt`.

    Returns:
        A `Listing` with `boxes`, `groups` (the photos) and the splits
        "fold_0" to "fold_4", in the order of the classes' and the photos'
        numbers. Its `left_out` counts boxes given again, boxes without area,
        and photos without a box.

    Raises:
        FileNotFoundError: if the folder, one of these files, or all photos
            are missing.
        ValueError: if a line cannot be read, or contradicts another.

    Example:

    >>> food = load_uec_food100("UECFOOD100")  # doctest: +SKIP
    >>> food.names[0]  # doctest: +SKIP
    'rice'
    >>> testing = food.split("fold_0")  # doctest: +SKIP

    Reference:
        [UEC Food-100](http://foodcam.mobi/dataset100.html)
    """
    folder = listing.check_folder(folder, NAME, (CATEGORIES,))
    names = _categories(folder / CATEGORIES)
    missing = [
        f"{key}/{BOXES}" for key in names if not (folder / f"{key}").is_dir()
    ]
    missing += [
        f"{key}/{BOXES}"
        for key in names
        if (folder / f"{key}").is_dir()
        and not (folder / f"{key}" / BOXES).is_file()
    ]
    if missing:
        raise listing.not_that_of(folder, NAME, missing)
    extra = sorted(
        path.parent.name
        for path in folder.glob(f"*/{BOXES}")
        if path.parent.name not in set(map(str, names))
    )
    if extra:
        raise ValueError(
            f"{folder / CATEGORIES} must have a line for every class. "
            f"Received: none for the folder {extra[0]}."
        )

    paths, labels, boxes, groups = [], [], [], []
    repeated = empty = boxless = 0
    for label, key in enumerate(names):
        rows = _rows(folder / f"{key}" / BOXES)
        kept = sorted(set(rows))
        repeated += len(rows) - len(kept)
        for photo, *sides in kept:
            left, top, right, bottom = sides
            if left >= right or top >= bottom:
                empty += 1
                continue
            paths.append(folder / f"{key}" / f"{photo}.jpg")
            labels.append(label)
            boxes.append((top, left, bottom, right))
            groups.append(photo)
        photos = {folder / f"{key}" / f"{row[0]}.jpg" for row in rows}
        boxless += listing.unlisted(folder / f"{key}", photos)
    listing.check_pictures(NAME, folder, paths)
    food = listing.Listing(
        name=NAME,
        paths=paths,
        labels=labels,
        names=names.values(),
        splits={},
        boxes=boxes,
        groups=groups,
        left_out=listing.counted(
            box_given_again=repeated,
            box_without_area=empty,
            photo_without_a_box=boxless,
        ),
    )
    food.splits.update(listing.folds(food, FOLDS))
    return food


def _categories(path):
    """Dictionary from the classes' numbers, in their order, to names."""
    found = {}
    for where, line in listing.read_lines(path):
        key, *name = line.split(maxsplit=1)
        if line.split() == ["id", "name"]:
            continue
        key = listing.number(where, "the first word", key)
        if key > CLASSES:
            raise ValueError(
                f"{where}: {NAME} has classes from 1 to {CLASSES}. Received: "
                f"{key}."
            )
        if not name or key in found:
            raise ValueError(
                f"{where}: every class must have a number of its own and a "
                f"name. Received: {line.strip()!r}."
            )
        found[key] = name[0].strip()
    if len(set(found.values())) < len(found) or not found:
        raise ValueError(
            f"{path} must name every class once. Received: {len(found)} "
            f"classes with {len(set(found.values()))} names."
        )
    return dict(sorted(found.items()))


def _rows(path):
    """Photo, left, top, right and bottom of every line, integers."""
    rows = []
    for where, line in listing.read_lines(path):
        words = line.split()
        if words == ["img", "x1", "y1", "x2", "y2"]:
            continue
        try:
            photo, *sides = map(int, words)
        except ValueError:
            photo, sides = 0, ()
        if photo < 1 or len(sides) != 4:
            raise ValueError(
                f"{where}: img, x1, y1, x2 and y2 must be integers. Received: "
                f"{line.strip()!r}."
            )
        rows.append((photo, *sides))
    if not rows:
        raise ValueError(f"{path} must list photos. Received: none.")
    return rows
