"""Data sets of TensorFlow Datasets, read into memory as they are stored."""

import dataclasses
import importlib.util
import urllib.error
from pathlib import Path

import keras
import numpy as np

from keras_warn import checks
from keras_warn import images
from keras_warn.datasets import adience
from keras_warn.datasets import builders
from keras_warn.datasets import cub200
from keras_warn.datasets import downloads
from keras_warn.datasets import listing
from keras_warn.datasets import stanford_dogs
from keras_warn.datasets import uec_food100
from keras_warn.datasets.builders import parts


@dataclasses.dataclass(frozen=True)
class Source:
    """What is known of a data set before it is there.

    Attributes:
        title: String, its name as the readers of folders have it.
        folder: What to provide where it cannot be downloaded.
        splits: Names of its splits.
        maker: Makes the builder, if it is one of ours.
        readable: Makes the name of a class from its folder, or `None` where
            the label has names.
        group: The feature that tells what stays together, or `None`.
        needs: Packages that preparing it takes, a dictionary from names of
            modules to names for pip.
    """

    title: str
    folder: str
    splits: tuple = ("train", "test")
    maker: object = None
    readable: object = None
    group: str | None = None
    needs: dict = dataclasses.field(default_factory=dict)


# Examples read at a time.
BATCH = 64

UEC_FOLDS = tuple(f"fold_{i}" for i in range(uec_food100.FOLDS))
ADIENCE_FOLDS = tuple(f"fold_{i}" for i in range(adience.FOLDS))
SOURCES = {
    "caltech_birds2011": Source(
        "CUB-200-2011",
        "the folder CUB_200_2011 of the published archive, which load_cub200 "
        "reads",
        readable=cub200.readable,
        needs={"cv2": "opencv-python-headless"},
    ),
    "stanford_dogs": Source(
        "Stanford Dogs",
        "a folder with Images/, Annotation/, train_list.mat and test_list.mat "
        "of the published archives, which load_stanford_dogs reads",
        readable=stanford_dogs.readable,
        needs={"scipy": "scipy"},
    ),
    "cars196": Source(
        "Stanford Cars",
        "a folder with cars_train/, cars_test/, devkit/ and "
        "cars_test_annos_withlabels.mat of a copy, which load_stanford_cars "
        "reads",
        needs={"scipy": "scipy"},
    ),
    "cifar10": Source(
        "CIFAR-10",
        "the folder cifar-10-batches-bin or cifar-10-batches-py of the "
        "published archives, which load_cifar10 reads",
    ),
    "cifar100": Source(
        "CIFAR-100",
        "the folder cifar-100-binary or cifar-100-python of the published "
        "archives, which load_cifar100 reads",
    ),
    "uec_food100": Source(
        "UEC Food-100",
        "the folder UECFOOD100 of the published archive, which "
        "load_uec_food100 reads",
        UEC_FOLDS,
        builders.uec_food100_builder,
        group="photo",
    ),
    **{
        f"adience/{task}": Source(
            f"Adience, {task}",
            "the folder Adience with fold_0_data.txt, ... and aligned/, which "
            "load_adience reads",
            ADIENCE_FOLDS,
            builders.adience_builder,
            group="user_id",
        )
        for task in ("gender", "age")
    },
}


def load_tfds(name, data_dir=None, verbose=1):
    """Loads a data set through TensorFlow Datasets.

    It is downloaded and prepared if it is not there already. Our own builders
    download nothing: they want the published folder in
    `downloads/manual/` of `data_dir`.

    Pictures are held in memory as they are stored, encoded: about as much as
    the published archives, 0.8 to 1.9 GB. Those of CIFAR are pixels.

    Args:
        name: `"caltech_birds2011"`, `"stanford_dogs"`, `"cars196"`,
            `"cifar10"` or `"cifar100"`; or of our `builders`, `"uec_food100"`,
            `"adience/gender"` or `"adience/age"`.
        data_dir: Folder of prepared data sets. Defaults to that of TensorFlow
            Datasets, `~/tensorflow_datasets`.
        verbose: 1 for a progress bar, or 0 for none.

    Returns:
        A `Listing` with `contents`, the published splits, and `boxes` and
        `groups` where the data set has them, in an order of names that does
        not depend on how files were prepared. Examples are those of the
        reader of the published folder. So are the names of classes, but for
        those of cars, which TensorFlow Datasets has in its code; and the
        order, but for CUB-200-2011. `left_out` is not known.

    Raises:
        ConnectionError: if it is not on this machine and cannot be downloaded,
            which is found out within seconds.
        FileNotFoundError: if a folder of one of our builders is missing.
        ImportError: if TensorFlow Datasets, or a package that preparing the
            data takes, is not installed.
        ValueError: if `name` is none of these.

    Example:

    >>> birds = load_tfds("caltech_birds2011")  # doctest: +SKIP
    >>> training, validation = birds.split("train").hold_out(0.1, seed=0)
    ... # doctest: +SKIP
    """
    checks.one_of("name", name, tuple(SOURCES))
    source = SOURCES[name]
    tfds = parts.import_tfds()
    if source.maker is not None:
        source.maker()
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        _prepare(tfds, builder, name, source)
    rows = _rows(tfds, builder, source.splits, verbose)
    # By name, or by split and number where pictures have no name.
    rows.sort(key=lambda row: row["order"])
    names = list(builder.info.features["label"].names)
    if source.readable is not None:
        for row in rows:
            folder = row["path"].parent.name
            if folder:
                names[row["label"]] = source.readable(folder)
    contents = [row["image"] for row in rows]
    if rows and isinstance(contents[0], np.ndarray):
        contents = np.stack(contents)
    splits = np.array([row["split"] for row in rows])
    groups = None
    if source.group is not None:
        groups = np.array([row[source.group] for row in rows])
        if groups.dtype.kind != "i":
            groups = np.unique(groups, return_inverse=True)[1]
    return listing.Listing(
        name=source.title,
        paths=[row["path"] for row in rows],
        labels=[row["label"] for row in rows],
        names=names,
        splits={name: np.flatnonzero(splits == name) for name in source.splits},
        boxes=[row["box"] for row in rows] if "box" in rows[0] else None,
        groups=groups,
        contents=contents,
    )


def _prepare(tfds, builder, name, source):
    """Downloads and prepares a data set, or says what to do instead."""
    advice = f"Provide {source.folder}, instead."
    missing = [
        package
        for module, package in source.needs.items()
        if importlib.util.find_spec(module) is None
    ]
    url = next(iter(builder.url_infos or ()), None)
    if url is not None:
        downloads.check_connection(url, f"`name={name!r}`", advice)
    # Not after gigabytes were downloaded.
    if missing:
        raise ImportError(
            f"Preparing {name!r} needs the package {missing[0]}: `pip install "
            f"{missing[0]}`. Or provide {source.folder}."
        )
    try:
        builder.download_and_prepare()
    except _of_downloads(tfds) as error:
        raise ConnectionError(
            f"`name={name!r}` was not found on this machine and cannot be "
            f"downloaded ({error}). {advice}"
        ) from error
    except AssertionError as error:
        # So TensorFlow Datasets says that what it does not download is missing.
        raise FileNotFoundError(
            f"`name={name!r}` is not downloaded: {error} Or provide "
            f"{source.folder}."
        ) from error


def _of_downloads(tfds):
    """What downloads raise."""
    import requests
    from tensorflow_datasets.core.download import download_manager

    return (
        ConnectionError,
        TimeoutError,
        download_manager.NonMatchingChecksumError,
        requests.exceptions.RequestException,
        tfds.download.DownloadError,
        urllib.error.URLError,
    )


def _rows(tfds, builder, splits, verbose):
    """All examples, a list of dictionaries."""
    features = builder.info.features
    encoded = features["image"].shape[0] is None
    used = ("image", "label", "image/filename", "id", "bbox", "objects")
    used += ("index", "photo", "user_id")
    # Nothing else is decoded, and these pictures are not.
    decoders = tfds.decode.PartialDecoding(
        {key: True for key in used if key in features},
        decoders={"image": tfds.decode.SkipDecoding()} if encoded else None,
    )
    total = sum(
        builder.info.splits[split].num_examples
        for split in splits
        if split in builder.info.splits
    )
    progress = keras.utils.Progbar(
        total or None, verbose=verbose, interval=1.0, unit_name="picture"
    )
    rows = []
    for split in splits:
        examples = builder.as_dataset(split=split, decoders=decoders)
        if "objects" in features:
            examples = examples.map(_around_objects)
        # One by one, they take several times as long.
        for batch in tfds.as_numpy(examples.batch(BATCH)):
            for values in zip(*batch.values(), strict=True):
                example = dict(zip(batch, values, strict=True))
                rows.append(_row(example, split, splits.index(split)))
            progress.update(len(rows))
    if not total:
        progress.update(len(rows), finalize=True)
    return rows


def _around_objects(example):
    """An example with the smallest box that holds all of its objects."""
    import tensorflow as tf

    boxes = example.pop("objects")["bbox"]
    first = tf.reduce_min(boxes[:, :2], axis=0)
    last = tf.reduce_max(boxes[:, 2:], axis=0)
    return {**example, "bbox": tf.concat([first, last], axis=0)}


def _row(example, split, number):
    """What is kept of an example."""
    row = {"image": example["image"], "label": example["label"], "split": split}
    if "image/filename" in example:
        name = example["image/filename"].decode()
        row["order"] = example.get("index", name)
    else:
        # The file's number: CIFAR has "train_00000", and Cars "00001".
        name = example["id"].decode().rpartition("_")[2]
        row["order"] = (number, name)
        name = f"{split}/{name}" + ".jpg" * isinstance(row["image"], bytes)
    row["path"] = Path(name)
    for key in ("photo", "user_id"):
        if key in example:
            row[key] = example[key]
    box = example.get("bbox")
    if box is not None:
        height, width = images.image_size(row["image"], name)
        # Fractions of float32 miss whole pixels by less than is rounded away.
        box = np.array(box, "float64") * (height, width, height, width)
        row["box"] = np.round(box, 3)
    return row
