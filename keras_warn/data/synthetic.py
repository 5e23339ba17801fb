"""Synthetic images in class folders, to try a training with."""

import pathlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import PIL.Image

SHAPES = ("Disc", "Square", "Triangle", "Ring")


def write_image_folder(
    folder, classes=4, train=12, test=4, seed=0
) -> pathlib.Path:
    """Writes folders `train/` and `test/` with a folder for each class.

    A class is a shape of one colour, anywhere on noise, so that a small
    network learns it in seconds.

    Args:
        folder: Where to. It is made if it does not exist.
        classes: Positive integer, the number of classes.
        train: Integer, training images of each class.
        test: Integer, test images of each class.
        seed: Non-negative integer. The same seed draws the same images.

    Returns:
        The `pathlib.Path` of the folder, for `load_image_folder`.

    Example:

    >>> import tempfile
    >>> from keras_warn.data import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shapes = load_image_folder(write_image_folder(folder, classes=2))
    >>> shapes.names, len(shapes.splits["train"])
    (('Disc_1', 'Square_2'), 24)
    """
    folder = Path(folder)
    for label in range(classes):
        name = f"{SHAPES[label % 4]}_{label + 1}"
        for i in range(train + test):
            path = folder / ("train" if i < train else "test") / name
            path.mkdir(parents=True, exist_ok=True)
            draw(label, (seed, label, i)).save(path / f"{i}.jpg", quality=95)
    return folder


def draw(label, seed=0, size=(32, 32)) -> "PIL.Image.Image":
    """A shape on noise.

    Args:
        label: Non-negative integer, which shape and colour.
        seed: As of `numpy.random.default_rng`.
        size: Width and height of the image.

    Returns:
        A `PIL.Image.Image`. Its `info["box"]` is left, top, right and bottom
        of the shape.
    """
    from PIL import Image
    from PIL import ImageColor
    from PIL import ImageDraw

    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 100, (*size[::-1], 3), "uint8"))
    radius = int(random.integers(min(size) // 5, min(size) // 3))
    x, y = (int(random.integers(radius, side - radius)) for side in size)
    box = (x - radius, y - radius, x + radius, y + radius)
    color = ImageColor.getrgb(f"hsl({label * 77 % 360}, 100%, 60%)")
    canvas = ImageDraw.Draw(image)
    match SHAPES[label % 4]:
        case "Disc":
            canvas.ellipse(box, fill=color)
        case "Square":
            canvas.rectangle(box, fill=color)
        case "Triangle":
            canvas.regular_polygon((x, y, radius), 3, fill=color)
        case "Ring":
            canvas.ellipse(box, outline=color, width=max(radius // 3, 1))
    image.info["box"] = box
    return image
