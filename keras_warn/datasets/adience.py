"""Adience: faces with age and gender, in the layout it is published in.

Nothing is downloaded.
"""

import re

import numpy as np

from keras_warn import checks
from keras_warn.datasets import listing

NAME = "Adience"
FOLDS = 5
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
# The eight classes, first and last year.
AGES = (
    (0, 2),
    (4, 6),
    (8, 13),
    (15, 20),
    (25, 32),
    (38, 43),
    (48, 53),
    (60, 100),
)
GENDERS = {"f": "female", "m": "male"}
AGE = re.compile(r"(\d+)|\((\d+), *(\d+)\)", re.ASCII)
# Folders of pictures, and how names in them start. The first there is taken.
PICTURES = {
    "aligned": "landmark_aligned_face",
    "faces": "coarse_tilt_aligned_face",
}


def load_adience(folder, task):
    """Reads the five published folds of Adience.

    An age in the files is a pair of years, such as `(25, 32)`, or one year. It
    is of the class with which it has the most years in common: `(8, 12)` and
    13 are of the class 8-13, `(27, 32)` of 25-32, `(38, 48)` of 38-43. A pair
    may be in any order: `(25, 23)` is of 25-32. It is left out, and counted,
    if there is none: 35 lies between 25-32 and 38-43; and if there are two
    alike: `(8, 23)` has six years in common with 8-13, and six with 15-20.

    Args:
        folder: The folder with `fold_0_data.txt` to `fold_4_data.txt`, and
            `aligned/` or `faces/` of the published archives. Where there are
            both, pictures are those of `aligned/`.
        task: `"gender"`, for the classes "female" and "male"; or `"age"`, for
            eight classes from "0-2" to "60-100".

    Returns:
        A `Listing` with the splits "fold_0" to "fold_4", of which each tests
        once what was trained on the others. Its `groups` are the users whose
        albums the faces are from: no user is in two of the published folds.
        Its `left_out` counts, by reason, the other lines of the files: those
        that repeat a line, and those without what the task asks for.

    Raises:
        FileNotFoundError: if the folder, one of these files, or all pictures
            are missing.
        ValueError: if `task` is neither, or a line cannot be read or
            contradicts another.

    Example:

    >>> faces = load_adience("Adience", "gender")  # doctest: +SKIP
    >>> len(faces), faces.left_out["gender u"]  # doctest: +SKIP
    (17492, 1099)

    Reference:
        [Age and Gender Estimation of Unfiltered Faces](
        https://doi.org/10.1109/TIFS.2014.2359646)
    """
    checks.one_of("task", task, ("gender", "age"))
    files = [f"fold_{i}_data.txt" for i in range(FOLDS)]
    folder = listing.check_folder(folder, NAME, files)
    kinds = [kind for kind in PICTURES if (folder / kind).is_dir()]
    if not kinds:
        raise listing.not_that_of(folder, NAME, ["aligned/ or faces/"])
    pictures, start = folder / kinds[0], PICTURES[kinds[0]]
    understand = _gender if task == "gender" else _age

    paths, labels, folds, users, left_out = [], [], [], [], {}
    seen = {}
    for fold, file in enumerate(files):
        for where, row in _rows(folder / file):
            user, image, face, age, gender = row
            about = (fold, understand(where, age, gender))
            name = (user, f"{start}.{face}.{image}")
            if name in seen:
                other, first = seen[name]
                if other != about:
                    raise ValueError(
                        f"{where}: a face must have one fold and one {task}. "
                        f"Received: {row}, which contradicts {first}."
                    )
                reason = "listed again"
            else:
                reason = about[1]
            seen.setdefault(name, (about, where))
            if isinstance(reason, str):
                left_out[reason] = left_out.get(reason, 0) + 1
                continue
            paths.append(pictures.joinpath(*name))
            labels.append(about[1])
            folds.append(fold)
            users.append(user)
    listing.check_pictures(NAME, folder, paths)
    names = GENDERS.values()
    if task == "age":
        names = [f"{first}-{last}" for first, last in AGES]
    return listing.Listing(
        name=f"{NAME}, {task}",
        paths=paths,
        labels=labels,
        names=names,
        splits={
            f"fold_{i}": np.flatnonzero(np.array(folds) == i)
            for i in range(FOLDS)
        },
        groups=np.unique(users, return_inverse=True)[1],
        left_out=left_out,
    )


def _rows(path):
    """Where, and the values of `COLUMNS`, of every line."""
    (where, first), *lines = listing.read_lines(path)
    header = [name.strip() for name in first.split("\t")]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ValueError(
            f"{where}: the first line must name the columns "
            f"{', '.join(COLUMNS)}, with tabs between. Received: {first!r}, "
            f"without {', '.join(missing)}."
        )
    if not lines:
        raise ValueError(f"{path} must list faces. Received: none.")
    places = [header.index(name) for name in COLUMNS]
    for where, line in lines:
        values = [value.strip() for value in line.split("\t")]
        if len(values) != len(header):
            raise ValueError(
                f"{where}: {len(header)} columns must stand here, with tabs "
                f"between. Received: {len(values)}."
            )
        user, image, face, age, gender = (values[i] for i in places)
        listing.plain(where, "user_id", user)
        listing.plain(where, "original_image", image)
        listing.number(where, "face_id", face)
        yield where, (user, image, face, age, gender)


def _gender(where, age, gender):
    """The class, or why there is none."""
    if gender in GENDERS:
        return list(GENDERS).index(gender)
    if gender not in ("u", ""):
        raise ValueError(
            f"{where}: gender must be f, m, u or nothing. Received: {gender!r}."
        )
    return f"gender {gender or 'empty'}"


def _age(where, age, gender):
    """The class, or why there is none."""
    if age in ("None", ""):
        return f"age {age or 'empty'}"
    match = AGE.fullmatch(age)
    if match is None:
        raise ValueError(
            f"{where}: age must be a year, a pair of them such as (25, 32), "
            f"None or nothing. Received: {age!r}."
        )
    years = [int(year) for year in match.groups() if year]
    common = [
        max(0, min(max(years), last) - max(min(years), first) + 1)
        for first, last in AGES
    ]
    most = max(common)
    if most == 0:
        return "age in no class"
    if common.count(most) > 1:
        return "age in two classes alike"
    return common.index(most)
