"""From a data set as it was published to what one training uses of it."""

import dataclasses
import hashlib
import json
import sys
import unicodedata

from keras_warn import checks
from keras_warn.data.image_dataset import ImageDataset
from keras_warn.data.image_dataset import contents_digest

# Splits are the same for every seed of a training.
SPLIT_SEED = 0
# Of data that come without test images.
TEST_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a data set that one training uses.

    Attributes:
        training: `ImageDataset`.
        validation: `ImageDataset`, or `None`.
        test: `ImageDataset`.
        fold: Which of the data's folds is tested, or `None`.
        contents: String that tells apart what the images of the whole data
            set are, `contents_digest`, or "" where nobody asked.
    """

    training: ImageDataset
    validation: ImageDataset | None
    test: ImageDataset
    fold: int | None = None
    contents: str = ""

    def summary(self) -> dict:
        """What results say of the data; a dictionary for JSON.

        Its digest tells data apart, wherever they lie: by contents and splits.
        """
        counts, described = {}, [self.contents, self.training.names]
        for name in ("training", "validation", "test"):
            images = getattr(self, name)
            counts[name] = 0 if images is None else len(images)
            if images is not None:
                names = [path.name for path in images.paths]
                described.append([name, names, images.labels.tolist()])
        # Names are the same on any system.
        described = unicodedata.normalize(
            "NFC", json.dumps(described, ensure_ascii=False)
        )
        digest = hashlib.sha256(described.encode(errors="replace"))
        return {
            "name": self.training.name,
            "classes": len(self.training.names),
            **counts,
            "skipped": self.training.skipped,
            "digest": digest.hexdigest()[:16],
        }


def split(images, validation_share, fold=None) -> Splits:
    """Splits a data set as it was published, and images to validate with.

    Args:
        images: An `ImageDataset`, with folds, with the splits "train" and
            "test", or with "train" alone, of which a fifth is then split off
            to test.
        validation_share: Number from 0, less than 1: the share of the training
            images to validate with, where there is no such split.
        fold: Integer, which fold to test, of data with folds.

    Returns:
        `Splits`. They are the same on every machine.
    """
    folds = [name for name in images.splits if name.startswith("fold_")]
    if folds:
        tested = f"fold_{checks.integer('fold', fold, 0)}"
        checks.one_of("fold", tested, folds)
        training = images.split(*(name for name in folds if name != tested))
        test = images.split(tested)
    else:
        training = images.split("train")
        if "test" in images.splits:
            test = images.split("test")
        else:
            training, test = training.hold_out(TEST_SHARE, SPLIT_SEED)
    validation = None
    if "validation" in images.splits:
        validation = images.split("validation")
    elif validation_share:
        training, validation = training.hold_out(validation_share, SPLIT_SEED)
    return Splits(training, validation, test, fold, contents_digest(images))


def check_images(images, skip=False) -> ImageDataset:
    """Reads all images of an `ImageDataset` once, and returns those to use.

    With `skip`, those that cannot be used are skipped, unless a class would
    lose all its images; without it, they are an error.
    """
    verbose = int(sys.stdout.isatty())
    if not skip:
        images.check(verbose=verbose)
        return images
    problems = images.problems(verbose=verbose)
    for path, reason in problems:
        print(f"skipped: {path}: {reason}", file=sys.stderr)
    left = images.without([path for path, _ in problems])
    if lost := {*images.labels.tolist()} - {*left.labels.tolist()}:
        raise ValueError(
            "Every class must have an image that can be read. Received: none "
            f"of {', '.join(images.names[label] for label in sorted(lost))}."
        )
    return left
