"""Tiny data sets in the layouts of the published ones, to try things with.

Their pictures are drawn: a class is a shape of one colour, somewhere on noise,
so that a small network learns it in seconds. What runs on a sample runs on the
published data set, whose folder has the same files.
"""

import colorsys
import math
import struct
from pathlib import Path

import numpy as np

from keras_warn import checks
from keras_warn import images
from keras_warn.datasets import adience
from keras_warn.datasets import cifar
from keras_warn.datasets import stanford_cars
from keras_warn.datasets import uec_food100

SHAPES = ("disc", "square", "triangle", "ring")
# Height and width of pictures, from and to.
SIDES = 48, 80
AGES = ("(0, 2)", "(4, 6)", "(8, 13)", "(15, 20)")
AGES += ("(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)")


def write_cub200(folder, classes=4, train=12, test=4, seed=0):
    """Writes a tiny data set in the layout of CUB-200-2011.

    Args:
        folder: Where to. It is made if it does not exist.
        classes: Positive integer, the number of classes.
        train: Positive integer, pictures of each class to train with.
        test: Positive integer, pictures of each class to test with.
        seed: Non-negative integer. The same seed draws the same pictures.

    Returns:
        The `pathlib.Path` of the folder for `load_cub200`.

    Example:

    >>> import tempfile
    >>> from keras_warn.datasets import load_cub200
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     birds = load_cub200(write_cub200(folder))
    >>> len(birds), birds.names[0], len(birds.splits["train"])
    (64, 'Disc 1', 48)
    """
    folder = Path(folder)
    drawn = _drawn(classes, train, test, seed)
    names = [f"{k + 1:03d}.{_name(k)}" for k in range(classes)]
    lines = {name: [] for name in ("images", "labels", "splits", "boxes")}
    for i, (label, number, split, pixels, box) in enumerate(drawn, start=1):
        file = f"{names[label]}/{_name(label)}_{number:04d}_{i}.jpg"
        _write_picture(folder / "images" / file, pixels)
        top, left, bottom, right = map(float, box)
        lines["images"].append(f"{i} {file}")
        lines["labels"].append(f"{i} {label + 1}")
        lines["splits"].append(f"{i} {int(split == 'train')}")
        lines["boxes"].append(f"{i} {left} {top} {right - left} {bottom - top}")
    _write_lines(folder / "images.txt", lines["images"])
    _write_lines(folder / "image_class_labels.txt", lines["labels"])
    _write_lines(folder / "train_test_split.txt", lines["splits"])
    _write_lines(folder / "bounding_boxes.txt", lines["boxes"])
    numbered = [f"{k} {name}" for k, name in enumerate(names, start=1)]
    _write_lines(folder / "classes.txt", numbered)
    return folder


def write_stanford_dogs(folder, classes=4, train=12, test=4, seed=0):
    """Writes a tiny data set in the layout of Stanford Dogs.

    Args:
        folder: As of `write_cub200`.
        classes: As of `write_cub200`.
        train: As of `write_cub200`.
        test: As of `write_cub200`.
        seed: As of `write_cub200`.

    Returns:
        The `pathlib.Path` of the folder for `load_stanford_dogs`.

    Raises:
        ImportError: if SciPy is not installed.
    """
    folder = Path(folder)
    entries = {"train": [], "test": []}
    drawn = _drawn(classes, train, test, seed)
    for i, (label, _, split, pixels, box) in enumerate(drawn, start=1):
        number = f"n{2_000_000 + label:08d}"
        name = f"{number}-{_name(label)}/{number}_{i}"
        _write_picture(folder / "Images" / f"{name}.jpg", pixels)
        write_dog_boxes(folder, f"{name}.jpg", [box], pixels.shape)
        entries[split].append((f"{name}.jpg", label + 1))
    for split, listed in entries.items():
        write_dog_list(folder / f"{split}_list.mat", listed)
    write_dog_list(folder / "file_list.mat", sum(entries.values(), []))
    return folder


def write_stanford_cars(folder, classes=4, train=12, test=4, seed=0):
    """Writes a tiny data set in the layout of Stanford Cars.

    Args:
        folder: As of `write_cub200`.
        classes: As of `write_cub200`.
        train: As of `write_cub200`.
        test: As of `write_cub200`.
        seed: As of `write_cub200`.

    Returns:
        The `pathlib.Path` of the folder for `load_stanford_cars`.

    Raises:
        ImportError: if SciPy is not installed.
    """
    folder = Path(folder)
    devkit = folder / "devkit"
    entries = {"train": [], "test": []}
    for label, _, split, pixels, box in _drawn(classes, train, test, seed):
        name = f"{len(entries[split]) + 1:05d}.jpg"
        _write_picture(folder / f"cars_{split}" / name, pixels)
        top, left, bottom, right = box
        entries[split].append((left, top, right, bottom, label + 1, name))
    names = [_name(k).replace("_", " ") for k in range(classes)]
    write_car_names(devkit / "cars_meta.mat", names)
    write_car_boxes(devkit / "cars_train_annos.mat", entries["train"])
    write_car_boxes(folder / stanford_cars.TEST, entries["test"])
    # As published, the file beside has all but the classes.
    blind = [(*entry[:4], entry[5]) for entry in entries["test"]]
    fields = [name for name in stanford_cars.FIELDS if name != "class"]
    write_car_boxes(devkit / "cars_test_annos.mat", blind, fields)
    return folder


def write_uec_food100(folder, classes=4, photos=16, seed=0):
    """Writes a tiny data set in the layout of UEC Food-100.

    Every fourth photo shows a dish of the next class, too, and lies in the
    folders of both.

    Args:
        folder: As of `write_cub200`.
        classes: Integer from 1 to 100, the number of classes.
        photos: Positive integer, photos of each class.
        seed: As of `write_cub200`.

    Returns:
        The `pathlib.Path` of the folder for `load_uec_food100`.
    """
    folder = Path(folder)
    classes = _at_most("classes", classes, uec_food100.CLASSES)
    photos = checks.integer("photos", photos)
    seed = checks.integer("seed", seed, 0)
    rows = {k: ["img x1 y1 x2 y2"] for k in range(classes)}
    for label, i in np.ndindex(classes, photos):
        photo = label * photos + i + 1
        dishes = [label]
        if i % 4 == 3 and classes > 1:
            dishes.append((label + 1) % classes)
        pixels, boxes = draw(dishes, seed=(seed, label, i))
        for dish, (top, left, bottom, right) in zip(dishes, boxes, strict=True):
            _write_picture(folder / f"{dish + 1}" / f"{photo}.jpg", pixels)
            rows[dish].append(f"{photo} {left} {top} {right} {bottom}")
    for dish, lines in rows.items():
        _write_lines(folder / f"{dish + 1}" / "bb_info.txt", lines)
    names = [f"{k + 1}\t{_name(k).replace('_', ' ')}" for k in range(classes)]
    _write_lines(folder / "category.txt", ["id\tname", *names])
    return folder


def write_adience(folder, users=8, faces=3, seed=0):
    """Writes a tiny data set in the layout of Adience.

    The shape is the gender, and the colour the age.

    Args:
        folder: As of `write_cub200`.
        users: Positive integer, users in each of the five folds. With eight,
            every fold has both genders and all classes of age.
        faces: Positive integer, faces of each user.
        seed: As of `write_cub200`.

    Returns:
        The `pathlib.Path` of the folder for `load_adience`.
    """
    folder = Path(folder)
    users = checks.integer("users", users)
    faces = checks.integer("faces", faces)
    seed = checks.integer("seed", seed, 0)
    columns = [*adience.COLUMNS, "x", "y", "dx", "dy", "tilt_ang"]
    columns += ["fiducial_yaw_angle", "fiducial_score"]
    for fold in range(adience.FOLDS):
        lines = ["\t".join(columns)]
        for user, face in np.ndindex(users, faces):
            name, image = f"{fold}{user:04d}@N00", f"{face + 1}.jpg"
            gender, age = user % 2, user % len(AGES)
            pixels, ((top, left, bottom, right),) = draw(
                [gender], [age], (seed, fold, user, face)
            )
            for kind, start in adience.PICTURES.items():
                file = f"{start}.{face + 1}.{image}"
                _write_picture(folder / kind / name / file, pixels)
            values = [name, image, face + 1, AGES[age], "fm"[gender]]
            values += [left, top, right - left, bottom - top, 0, 0, 50]
            lines.append("\t".join(map(str, values)))
        _write_lines(folder / f"fold_{fold}_data.txt", lines)
    return folder


def write_cifar10(
    folder, classes=4, train=12, test=4, seed=0, version="binary"
):
    """Writes a tiny data set in the layout of CIFAR-10.

    Args:
        folder: As of `write_cub200`.
        classes: Integer from 1 to 10, the number of classes.
        train: As of `write_cub200`.
        test: As of `write_cub200`.
        seed: As of `write_cub200`.
        version: `"binary"` or `"python"`, which of the published archives.

    Returns:
        The `pathlib.Path` of the folder for `load_cifar10`.
    """
    return _write_cifar(
        cifar.CIFAR10, folder, (classes, train, test, seed), version
    )


def write_cifar100(
    folder, classes=4, train=12, test=4, seed=0, version="binary"
):
    """Writes a tiny data set in the layout of CIFAR-100.

    Args:
        folder: As of `write_cub200`.
        classes: Integer from 1 to 100, the number of classes.
        train: As of `write_cub200`.
        test: As of `write_cub200`.
        seed: As of `write_cub200`.
        version: As of `write_cifar10`.

    Returns:
        The `pathlib.Path` of the folder for `load_cifar100`.
    """
    return _write_cifar(
        cifar.CIFAR100, folder, (classes, train, test, seed), version
    )


def write_image_folder(folder, classes=4, train=12, test=4, seed=0):
    """Writes a tiny data set as people have their own: a folder for a class.

    Args:
        folder: As of `write_cub200`.
        classes: As of `write_cub200`.
        train: As of `write_cub200`.
        test: As of `write_cub200`.
        seed: As of `write_cub200`.

    Returns:
        The `pathlib.Path` of the folder for `load_image_folder`, with folders
        `train/` and `test/`.
    """
    folder = Path(folder)
    for label, i, split, pixels, _ in _drawn(classes, train, test, seed):
        _write_picture(folder / split / _name(label) / f"{i}.jpg", pixels)
    return folder


def draw(shapes, colors=None, seed=0, size=None):
    """Draws shapes on noise.

    Args:
        shapes: List of non-negative integers, a shape for each.
        colors: As many non-negative integers, their colours. Defaults to
            `shapes`.
        seed: Non-negative integer, or a tuple of them.
        size: Height and width. Drawn from 48 to 80 by default.

    Returns:
        A pair: pixels, uint8 `(height, width, 3)`, and the shapes' boxes, a
        list of `(top, left, bottom, right)` in whole pixels.

    Example:

    >>> pixels, boxes = draw([0, 1], size=(40, 60))
    >>> pixels.shape, len(boxes)
    ((40, 60, 3), 2)
    """
    random = np.random.default_rng(seed)
    height, width = size or random.integers(SIDES[0], SIDES[1] + 1, 2).tolist()
    pixels = random.integers(0, 100, (height, width, 3), "uint8")
    # Side by side: none hides another.
    strip = width // len(shapes)
    boxes = []
    colors = shapes if colors is None else colors
    for i, (shape, color) in enumerate(zip(shapes, colors, strict=True)):
        side = min(height, strip)
        side = int(random.integers(side // 2, side * 3 // 4 + 1))
        top = int(random.integers(0, height - side + 1))
        left = i * strip + int(random.integers(0, strip - side + 1))
        box = (top, left, top + side, left + side)
        # Hues by the golden ratio differ, however many there are.
        hue = color * (math.sqrt(5) - 1) / 2
        rgb = np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, 1)) * 255
        region = pixels[box[0] : box[2], box[1] : box[3]]
        region[_inside(SHAPES[shape % len(SHAPES)], side)] = rgb.astype("uint8")
        boxes.append(box)
    return pixels, boxes


def write_dog_list(path, entries):
    """Writes a list of Stanford Dogs.

    As published: cells of strings in a column, and labels as doubles.

    Args:
        path: The file.
        entries: Pairs, a picture's name with its folder, and its class from 1.
    """
    names = [name for name, _ in entries]
    _write_mat(
        path,
        file_list=_cells(names).T,
        annotation_list=_cells([name[:-4] for name in names]).T,
        labels=np.array([[label] for _, label in entries], "float64"),
    )


def write_dog_boxes(folder, name, boxes, size):
    """Writes the file of Stanford Dogs that has a picture's boxes.

    Args:
        folder: The data set's.
        name: The picture's name with its folder.
        boxes: Of the dogs, each top, left, bottom and right.
        size: Height and width of the picture.
    """
    objects = "".join(
        "<object><name>dog</name><pose>Unspecified</pose><bndbox>"
        f"<xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for top, left, bottom, right in boxes
    )
    text = (
        f"<annotation><filename>{Path(name).stem}</filename><size>"
        f"<width>{size[1]}</width><height>{size[0]}</height><depth>3</depth>"
        f"</size>{objects}</annotation>"
    )
    _write_lines(Path(folder, "Annotation", name[:-4]), [text])


def write_car_names(path, names):
    """Writes the names of Stanford Cars' classes: a row of cells."""
    _write_mat(path, class_names=_cells(names))


def write_car_boxes(path, entries, fields=stanford_cars.FIELDS):
    """Writes annotations of Stanford Cars.

    As published: a row of structures, each with numbers of 1 by 1.

    Args:
        path: The file.
        entries: Tuples of the values of the `fields`.
        fields: Names of the fields.
    """
    rows = np.empty((1, len(entries)), [(name, object) for name in fields])
    for i, entry in enumerate(entries):
        rows[0, i] = tuple(
            value if isinstance(value, str) else np.array([[value]])
            for value in entry
        )
    _write_mat(path, annotations=rows)


def python2_pickle(value):
    """A value as Python 2 pickled it, which is how CIFAR is published.

    Args:
        value: Bytes, an integer from 0 to 255, an array of bytes (uint8), or
            a list or dictionary of such.

    Returns:
        Bytes.
    """
    return b"\x80\x02" + _pickled(value) + b"."


def _name(label):
    """Name of a class in files: "Disc_1"."""
    return f"{SHAPES[label % len(SHAPES)].capitalize()}_{label + 1}"


def _drawn(classes, train, test, seed, size=None):
    """Label, number, split, pixels and box of every picture."""
    classes = checks.integer("classes", classes)
    numbers = {
        "train": checks.integer("train", train),
        "test": checks.integer("test", test),
    }
    seed = checks.integer("seed", seed, 0)
    splits = [split for split, number in numbers.items() for _ in range(number)]

    def drawn():
        for label in range(classes):
            for i, split in enumerate(splits):
                pixels, (box,) = draw([label], seed=(seed, label, i), size=size)
                yield label, i, split, pixels, box

    return drawn()


def _at_most(name, value, most):
    if checks.integer(name, value) > most:
        raise ValueError(
            f"`{name}` must be at most {most}. Received: {name}={value}."
        )
    return value


def _inside(shape, side):
    """Which pixels of a square are of the shape: bool `(side, side)`."""
    across = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = across[:, None], across[None, :]
    radius = np.hypot(y, x)
    if shape == "disc":
        return radius <= 1
    if shape == "square":
        return np.ones((side, side), bool)
    if shape == "triangle":
        return np.abs(x) <= (y + 1) / 2
    return (0.5 <= radius) & (radius <= 1)


def _write_cifar(layout, folder, settings, version):
    checks.one_of("version", version, tuple(layout.folders))
    classes = _at_most("classes", settings[0], layout.classes)
    folder = Path(folder, layout.folders[version])
    parts = {"train": [], "test": []}
    for label, _, split, pixels, _ in _drawn(*settings, size=(32, 32)):
        parts[split].append((label, pixels))
    names = [_name(k).lower() for k in range(classes)]
    # The published ones are in no order of classes.
    random = np.random.default_rng(settings[-1])
    for split, files in layout.files(version).items():
        examples = parts[split]
        if len(examples) < len(files):
            raise ValueError(
                f"`{split}` must be a picture for each of {len(files)} files, "
                f"or more. Received: {split}={len(examples) // classes} of "
                f"each of {classes} classes."
            )
        order = random.permutation(len(examples))
        for file, indices in zip(
            files, np.array_split(order, len(files)), strict=True
        ):
            labels = [examples[i][0] for i in indices]
            pixels = np.array([examples[i][1] for i in indices], "uint8")
            # Planes of red, green and blue.
            rows = pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
            rows = rows.reshape(-1, cifar.PIXELS)
            content = _cifar_file(layout, version, labels, rows)
            _write(folder / file, content)
    # As in the published ones, five classes are one coarse one.
    coarse = [f"group_{k + 1}" for k in range(math.ceil(classes / 5))]
    if version == "binary":
        lines = {layout.names[version]: names}
        if layout.coarse:
            lines["coarse_label_names.txt"] = coarse
        for file, texts in lines.items():
            # As published, the last line is empty.
            _write_lines(folder / file, [*texts, ""])
    else:
        meta = {layout.key + b"_names": [name.encode() for name in names]}
        if layout.coarse:
            meta[b"coarse_label_names"] = [name.encode() for name in coarse]
        _write(folder / layout.names[version], python2_pickle(meta))
    return folder


def _cifar_file(layout, version, labels, rows):
    """What is in a file of examples."""
    coarse = [label // 5 for label in labels]
    if version == "binary":
        columns = [coarse, labels] if layout.coarse else [labels]
        columns = np.array(columns, "uint8").T
        return np.concatenate([columns, rows], axis=1).tobytes()
    content = {b"data": rows, layout.key + b"s": labels}
    if layout.coarse:
        content[b"coarse_labels"] = coarse
    return python2_pickle(content)


def _pickled(value):
    if isinstance(value, dict):
        items = b"".join(_pickled(k) + _pickled(v) for k, v in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, np.ndarray):
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\n"
            b"(cnumpy\nndarray\n(K\x00tU\x01btR"
        )
        shape = b"".join(b"J" + struct.pack("<i", n) for n in value.shape)
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        dtype += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        state = b"(K\x01(" + shape + b"t" + dtype + b"I00\n"
        return array + state + _pickled(value.tobytes()) + b"tb"
    return b"K" + struct.pack("B", value)


def _cells(texts):
    """A row of MATLAB's cells."""
    cells = np.empty((1, len(texts)), object)
    cells[0] = texts
    return cells


def _write_mat(path, **content):
    try:
        import scipy.io
    except ImportError as error:
        raise ImportError(
            "Files of MATLAB need the package SciPy: `pip install scipy`."
        ) from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, content)


def _write_picture(path, pixels):
    pillow = images.import_pillow()
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.Image.fromarray(pixels).save(path, quality=90)


def _write_lines(path, lines):
    _write(path, "".join(f"{line}\n" for line in lines).encode())


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
