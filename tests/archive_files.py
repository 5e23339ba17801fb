"""The paper's data sets in their published layouts, a few images each."""

import numpy as np
import scipy.io

from keras_warn.data import synthetic

NAMES = ["Ring_1", "Disc_2"]
# Of four images: labels from 0, and which are to train and to test with.
LABELS = [0, 0, 1, 1]
SPLITS = {"train": (0, 2), "test": (1, 3)}


def _save(path, label, seed):
    """Draws an image, and returns left, top, right and bottom of its shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = synthetic.draw(label, seed, size=(37, 41))
    image.save(path)
    return image.info["box"]


def _lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


CUB_LISTS = "images image_class_labels train_test_split bounding_boxes".split()


def cub200(folder, times=1):
    """Returns the boxes: left, top, right, bottom."""
    lines = {name: [] for name in CUB_LISTS}
    boxes = []
    for i in range(4 * times):
        label = LABELS[i % 4]
        image = f"00{label + 1}.{NAMES[label]}/{i}.jpg"
        left, top, right, bottom = _save(folder / "images" / image, label, i)
        boxes.append([left, top, right, bottom])
        train = int(i % 4 in SPLITS["train"])
        box = f"{left}.0 {top}.0 {right - left}.0 {bottom - top}.0"
        values = (image, label + 1, train, box)
        for name, value in zip(CUB_LISTS, values, strict=True):
            lines[name].append(f"{i + 1} {value}")
    lines["classes"] = [f"{i} 00{i}.{n}" for i, n in enumerate(NAMES, 1)]
    for name, content in lines.items():
        _lines(folder / f"{name}.txt", content)
    return boxes


def stanford_dogs(folder):
    """The first image has two dogs. Returns the boxes."""
    boxes = {}
    for split, examples in SPLITS.items():
        files = []
        for i in examples:
            name = f"n0208{LABELS[i]}-{NAMES[LABELS[i]]}/{i}"
            files.append(f"{name}.jpg")
            dogs = [_save(folder / "Images" / files[-1], LABELS[i], i)]
            if i == 0:
                dogs.append((1, 2, 3, 4))
            objects = [
                "<object><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
                "<ymax>{}</ymax></bndbox></object>".format(*dog)
                for dog in dogs
            ]
            size = "<size><width>9</width></size>"
            lines = ["<annotation>", size, *objects, "</annotation>"]
            _lines(folder / "Annotation" / name, lines)
            boxes[i] = [*np.min(dogs, 0)[:2], *np.max(dogs, 0)[2:]]
        labels = [[LABELS[i] + 1] for i in examples]
        content = {"file_list": _cells(files), "labels": np.array(labels)}
        scipy.io.savemat(folder / f"{split}_list.mat", content)
    return [boxes[i] for i in sorted(boxes)]


def _cells(texts):
    cells = np.empty((len(texts), 1), object)
    cells[:, 0] = texts
    return cells


def stanford_cars(folder):
    """Returns the boxes, those to train with first."""
    (folder / "devkit").mkdir(parents=True)
    files = ("devkit/cars_train_annos", "cars_test_annos_withlabels")
    kinds = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    kinds = [(name, object) for name in kinds]
    boxes = []
    for file, (split, examples) in zip(files, SPLITS.items(), strict=True):
        rows = []
        for i in examples:
            name = f"0000{i + 1}.jpg"
            boxes.append(_save(folder / f"cars_{split}" / name, LABELS[i], i))
            rows.append((*boxes[-1], LABELS[i] + 1, name))
        rows = np.array([rows], kinds)
        scipy.io.savemat(folder / f"{file}.mat", {"annotations": rows})
    names = {"class_names": np.array([NAMES], object)}
    scipy.io.savemat(folder / "devkit" / "cars_meta.mat", names)
    return boxes


def uec_food100(folder):
    """Photo 7 shows both classes, and lies in the folders of both."""
    _lines(folder / "category.txt", ["id\tname", "1\trice", "2\teels on rice"])
    for label, photos in ((1, (3, 7, 9)), (2, (7, 11))):
        rows = []
        for photo in photos:
            box = _save(folder / f"{label}" / f"{photo}.jpg", label, photo)
            rows.append(f"{photo} {' '.join(map(str, box))}")
        _lines(
            folder / f"{label}" / "bb_info.txt",
            # Published files repeat lines, and have boxes without area.
            ["img x1 y1 x2 y2", *rows, rows[0], f"{photos[0]} 5 5 5 9"],
        )


ADIENCE = (
    # Fold, user, image, face, age, gender.
    (0, "3@N03", "1.jpg", 1, "(25, 32)", "f"),
    (0, "3@N03", "1.jpg", 2, "None", "m"),
    (0, "3@N03", "2.jpg", 1, "(0, 2)", "u"),
    (1, "7@N00", "1.jpg", 3, "35", ""),
    (1, "7@N00", "4.jpg", 3, "13", "m"),
    (2, "8@N00", "5.jpg", 5, "(8, 12)", "f"),
    (3, "9@N00", "6.jpg", 7, "(60, 100)", "m"),
    (4, "1@N00", "7.jpg", 11, "(38, 48)", "f"),
    (4, "2@N00", "8.jpg", 13, "(8, 23)", "f"),
    # The line before, again: published so, 117 times.
    (4, "2@N00", "8.jpg", 13, "(8, 23)", "f"),
)


def adience(folder, rows=ADIENCE):
    header = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty"
    for fold in range(5):
        own = [row[1:] for row in rows if row[0] == fold]
        lines = ["\t".join(map(str, (*row, 1, 2))) for row in own]
        _lines(folder / f"fold_{fold}_data.txt", [header, *lines])
        for user, image, face, *_ in own:
            name = f"landmark_aligned_face.{face}.{image}"
            _save(folder / "aligned" / user / name, face % 2, face)


def cifar(folder, classes=10):
    """Returns pixels and labels, those to train with first."""
    random = np.random.default_rng(classes)
    names, files, coarse = "fine_label_names.txt", ["train", "test"], 1
    if classes == 10:
        names, coarse = "batches.meta.txt", 0
        files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    _lines(folder / names, [f"class_{i}" for i in range(classes)])
    pixels, labels = [], []
    for file in files:
        images = random.integers(0, 256, (2, 32, 32, 3), "uint8")
        label = random.integers(0, classes, 2, "uint8")
        planes = images.transpose(0, 3, 1, 2).reshape(2, -1)
        row = [np.zeros((2, coarse), "uint8"), label[:, None], planes]
        np.concatenate(row, axis=1).tofile(folder / f"{file}.bin")
        pixels.append(images)
        labels.append(label)
    return np.concatenate(pixels), np.concatenate(labels)
