"""The paper's data sets, from their published folders or TensorFlow Datasets.

Each function returns an `ImageDataset`: paths, labels, splits and, where they
are published, boxes. Nothing is downloaded but by `from_tfds`.
"""

import functools
import os
import re
from pathlib import Path

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import scipy.io

from keras_warn import data
from keras_warn.data import downloads
from keras_warn.data import image_files
from keras_warn.data import images
from keras_warn.data.stratified import folds

FOLDS = 5
BOX = ["top", "left", "bottom", "right"]


def cub200(folder):
    """CUB-200-2011: birds of 200 species, in the folder `CUB_200_2011`.

    Reference:
        https://www.vision.caltech.edu/datasets/cub_200_2011/
    """
    needed = ["images/", "images.txt", "image_class_labels.txt", "classes.txt"]
    needed += ["train_test_split.txt", "bounding_boxes.txt"]
    folder = _check_folder(folder, "CUB-200-2011", needed)

    def read(name, *columns):
        columns = ["id", *columns]
        return _read_table(folder / name, columns, sep=" ", index_col="id")

    table = read("images.txt", "path").join(
        [
            read("image_class_labels.txt", "class"),
            read("train_test_split.txt", "train"),
            read("bounding_boxes.txt", "left", "top", "width", "height"),
        ]
    )
    table["name"] = table["class"].map(read("classes.txt", "name").name)
    table["split"] = np.where(table.train == 1, "train", "test")
    table["bottom"] = table.top + table.height
    table["right"] = table.left + table.width
    table["path"] = [folder / "images" / path for path in table.path]
    table["name"] = table.name.map(_readable)
    return _dataset("CUB-200-2011", folder, table)


def stanford_dogs(folder):
    """Stanford Dogs: 120 breeds; a box holds all dogs of its image.

    The images are of ImageNet's training set: backbones trained on it have
    seen the test images.

    Reference:
        http://vision.stanford.edu/aditya86/ImageNetDogs/
    """
    needed = ["Images/", "train_list.mat", "test_list.mat"]
    folder = _check_folder(folder, "Stanford Dogs", needed)
    parts = []
    for split in ("train", "test"):
        path = folder / f"{split}_list.mat"
        files, labels = _read_mat(path, "file_list", "labels")
        part = {"path": files, "class": labels, "split": split}
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts).sort_values("path", ignore_index=True)
    table["name"] = table.path.str.split("/").str[0].map(_readable)
    if (folder / "Annotation").is_dir():
        table[BOX] = [_dogs(folder / "Annotation", path) for path in table.path]
    table["path"] = [folder / "Images" / path for path in table.path]
    return _dataset("Stanford Dogs", folder, table)


def _dogs(folder, path):
    """The smallest box that holds all dogs of an image."""
    path = folder / path.rpartition(".")[0]
    boxes = pd.read_xml(path, xpath=".//bndbox", parser="etree")
    first, last = boxes[["ymin", "xmin"]].min(), boxes[["ymax", "xmax"]].max()
    return [*first, *last]


def stanford_cars(folder):
    """Stanford Cars: 196 models, in `cars_train/`, `cars_test/` and `devkit/`.

    Reference:
        https://doi.org/10.1109/ICCVW.2013.77
    """
    folder, test = Path(folder), "cars_test_annos_withlabels.mat"
    if not (folder / test).is_file():
        test = f"devkit/{test}"
    files = {"train": "devkit/cars_train_annos.mat", "test": test}
    needed = ["cars_train/", "cars_test/", "devkit/cars_meta.mat"]
    _check_folder(folder, "Stanford Cars", [*needed, *files.values()])
    (names,) = _read_mat(folder / "devkit/cars_meta.mat", "class_names")
    parts = []
    for split, file in files.items():
        (rows,) = _read_mat(folder / file, "annotations")
        part = {
            "path": [folder / f"cars_{split}" / x for x in rows["fname"]],
            "class": rows["class"].astype(int),
            "split": split,
        }
        sides = ("bbox_y1", "bbox_x1", "bbox_y2", "bbox_x2")
        for side, theirs in zip(BOX, sides, strict=True):
            part[side] = rows[theirs].astype(float)
        parts.append(pd.DataFrame(part).sort_values("path"))
    table = pd.concat(parts, ignore_index=True)
    table["name"] = names[table["class"] - 1]
    return _dataset("Stanford Cars", folder, table)


def uec_food100(folder):
    """UEC Food-100: Japanese dishes, an example a box.

    A photo of several dishes lies, under the same number, in the folder of
    each of its classes. No split is published: these five folds keep a photo
    together, and depend on the files' names alone.

    Reference:
        http://foodcam.mobi/dataset100.html
    """
    name = "UEC Food-100"
    folder = _check_folder(folder, name, ["category.txt"])
    read = functools.partial(_read_table, skiprows=1)
    classes = read(folder / "category.txt", ["class", "name"], sep="\t")
    needed = [f"{number}/bb_info.txt" for number in classes["class"]]
    _check_folder(folder, name, needed)
    columns = ["group", "left", "top", "right", "bottom"]
    lists = [read(folder / file, columns, sep=r"\s+") for file in needed]
    table = pd.concat(lists, keys=classes["class"], names=["class"])
    table = table.reset_index("class")
    once = table.drop_duplicates()
    kept = once[(once.left < once.right) & (once.top < once.bottom)]
    skipped = {
        "box given again": len(table) - len(once),
        "box without area": len(once) - len(kept),
    }
    skipped = {reason: n for reason, n in skipped.items() if n}
    table = kept.merge(classes, on="class", validate="m:1")
    table = table.sort_values(["class", *columns], ignore_index=True)
    table["path"] = [
        folder / f"{number}" / f"{photo}.jpg"
        for number, photo in zip(table["class"], table.group, strict=True)
    ]
    food = _dataset(name, folder, table, skipped)
    food.splits.update(folds(food, FOLDS))
    return food


GENDERS = {"f": "female", "m": "male"}
# First and last year of the eight classes.
AGES = [(0, 2), (4, 6), (8, 13), (15, 20)]
AGES += [(25, 32), (38, 43), (48, 53), (60, 100)]


def adience(folder, task):
    """Adience: faces with gender or age, in the five published folds.

    An age in the files is a pair of years, such as `(25, 32)`, or one year. It
    is of the class with which it has the most years in common: 13 and
    `(8, 12)` are of 8-13. Where there is none, as of 35, or two alike, as of
    `(8, 23)`, the face is skipped, and counted: 17,492 have a gender, and
    17,708 an age. Images are those in `aligned/`, or else in `faces/`.

    Reference:
        https://doi.org/10.1109/TIFS.2014.2359646
    """
    files = [f"fold_{i}_data.txt" for i in range(FOLDS)]
    folder = _check_folder(folder, "Adience", files)
    kind, start = "aligned", "landmark_aligned_face"
    if not (folder / kind).is_dir():
        kind, start = "faces", "coarse_tilt_aligned_face"
        _check_folder(folder, "Adience", ["faces/"])
    face = ["user_id", "original_image", "face_id"]
    parts = []
    for i, file in enumerate(files):
        part = _read_table(
            folder / file,
            sep="\t",
            dtype=str,
            header=0,
            usecols=[*face, "age", "gender"],
            keep_default_na=False,  # "None" is an age of theirs
        )
        parts.append(part.assign(split=f"fold_{i}"))
    table = pd.concat(parts, ignore_index=True)
    once = table.drop_duplicates()
    if task == "gender":
        named = once.gender.map(GENDERS)
        why = "gender " + once.gender.replace("", "empty")
        names = list(GENDERS.values())
    else:
        named = once.age.map(_age)
        why = once.age.map(lambda age: f"age {age or 'empty'}")
        names = [f"{first}-{last}" for first, last in AGES]
    skipped = why[named.isna()].value_counts().to_dict()
    if len(once) < len(table):
        skipped["listed again"] = len(table) - len(once)
    table = once.assign(name=named)[named.notna()].reset_index(drop=True)
    table["group"] = pd.factorize(table.user_id)[0]
    table["class"] = table.name.map(names.index)
    table["path"] = [
        folder / kind / user / f"{start}.{number}.{image}"
        for user, image, number in table[face].itertuples(index=False)
    ]
    return _dataset(f"Adience, {task}", folder, table, skipped, names)


def _age(text):
    """The class of an age in the files, or `None`."""
    years = [int(year) for year in re.findall(r"\d+", text)]
    if not years or not re.fullmatch(r"\d+|\(\d+, *\d+\)", text):
        return None
    common = [
        max(0, min(max(years), last) - max(min(years), first) + 1)
        for first, last in AGES
    ]
    most = max(common)
    if most == 0 or common.count(most) > 1:
        return None
    return "{}-{}".format(*AGES[common.index(most)])


def cifar(folder, classes):
    """CIFAR-10 or CIFAR-100 (fine classes), of the binary version.

    Reference:
        https://www.cs.toronto.edu/~kriz/cifar.html
    """
    if classes == 10:
        names, test = "batches.meta.txt", "test_batch.bin"
        train, label = [f"data_batch_{i}.bin" for i in range(1, 6)], 0
    else:
        names, test = "fine_label_names.txt", "test.bin"
        train, label = ["train.bin"], 1  # behind the coarse one
    name = f"CIFAR-{classes}"
    folder = _check_folder(folder, name, [names, *train, test])
    names = (folder / names).read_text().split()
    row = label + 1 + 3 * 32 * 32
    pixels, tables = [], []
    for file in (*train, test):
        content = np.fromfile(folder / file, "uint8")
        content = content.reshape(-1, row)
        # Planes of red, green and blue.
        planes = content[:, label + 1 :].reshape(-1, 3, 32, 32)
        pixels.append(planes.transpose(0, 2, 3, 1))
        split = "test" if file == test else "train"
        part = {"class": content[:, label], "split": split}
        tables.append(pd.DataFrame(part))
    table = pd.concat(tables, ignore_index=True)
    number = table.groupby("split").cumcount()
    table["path"] = table.split + "/" + number.map("{:05d}".format)
    pixels = np.concatenate(pixels)
    return _dataset(name, folder, table, names=names, contents=pixels)


# By what TensorFlow Datasets calls them.
TITLES = {
    "caltech_birds2011": "CUB-200-2011",
    "stanford_dogs": "Stanford Dogs",
    "cars196": "Stanford Cars",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}


def from_tfds(name, advice):
    """One of `TITLES` from TensorFlow Datasets, its files held in memory.

    The `advice` says what to do where they cannot be had.
    """
    builder = downloads.prepared(name, advice)
    import tensorflow_datasets as tfds

    features = builder.info.features
    encoded = features["image"].shape[0] is None
    decoders = {"image": tfds.decode.SkipDecoding()} if encoded else None
    rows = []
    for split in ("train", "test"):
        examples = builder.as_dataset(split=split, decoders=decoders)
        rows += [_example(one, split) for one in tfds.as_numpy(examples)]
    table = pd.DataFrame(rows).sort_values("path", ignore_index=True)
    contents = table.pop("image").tolist()
    if not encoded:
        contents = np.stack(contents)
    return _dataset(
        TITLES[name],
        f"TensorFlow Datasets' {name}",
        table,
        names=[_readable(one) for one in features["label"].names],
        contents=contents,
    )


def _example(example, split):
    """What is kept of an example of TensorFlow Datasets."""
    name = example.get("image/filename", example.get("id")).decode()
    row = {"image": example["image"], "class": example["label"]}
    row |= {"split": split, "path": f"{split}/{name}"}
    boxes = example.get("bbox")
    if "objects" in example:
        boxes = example["objects"]["bbox"]
    if boxes is not None:
        boxes = np.reshape(boxes, (-1, 4))
        box = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
        # Shares of height and width.
        size = images.image_size(example["image"], name) * 2
        row |= dict(zip(BOX, np.multiply(box, size), strict=True))
    return row


def _readable(name):
    """A class's name without the number of its folder."""
    return re.sub(r"^(n\d+-|\d+\.)", "", name).replace("_", " ")


def _read_table(path, names=None, **options):
    """A text file as a `DataFrame`, or an error that names the file."""
    options = {"header": None, "skipinitialspace": True, **options}
    try:
        return pd.read_csv(path, names=names, encoding="utf-8-sig", **options)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _dataset(name, folder, table, skipped=(), names=None, contents=None):
    """An `ImageDataset` of a table with the columns class, path and split.

    Without `names`, classes are called by its column `name`, in the order of
    their numbers; `group`, and the sides of `BOX`, are used where they are.
    """
    labels, boxes, splits = table["class"], None, {}
    if names is None:
        labels, _ = pd.factorize(labels, sort=True)
        names = table.groupby("class").name.first()
    if "top" in table:
        boxes = table[BOX].to_numpy("float32")
    if contents is None:
        image_files.check_images(name, folder, table.path)
    if "split" in table:
        splits = table.groupby("split", sort=False).indices
    return data.ImageDataset(
        name=name,
        paths=table.path,
        labels=labels,
        names=names,
        splits=splits,
        boxes=boxes,
        groups=table.group if "group" in table else None,
        skipped=skipped,
        contents=contents,
    )


def _check_folder(folder, name, needed):
    """The folder of a data set, if it has these files, and folders with "/"."""
    folder = Path(folder)
    missing = [one for one in needed if not (folder / one).exists()]
    if missing:
        raise FileNotFoundError(
            f"`--data-dir` must be the folder of {name}, with "
            f"{', '.join(missing[:6])}. Received: {folder}."
        )
    return folder


def _read_mat(path, *names):
    """Variables of a file of MATLAB, without axes of length 1."""
    content = scipy.io.loadmat(path, squeeze_me=True, variable_names=names)
    return [np.atleast_1d(content[name]) for name in names]
