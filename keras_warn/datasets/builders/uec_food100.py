"""UEC Food-100 for TensorFlow Datasets."""

import functools

import numpy as np

from keras_warn import images
from keras_warn.datasets import uec_food100
from keras_warn.datasets.builders import parts


@functools.cache
def uec_food100_builder():
    """The class `UecFood100`, registered as "uec_food100".

    It has an example for every box, as `load_uec_food100`: the whole photo, as
    it was published, and the box, as far as the photo reaches. `photo` is the
    photo's number and `index` that of the example in the `Listing`.

    Returns:
        A subclass of `tfds.core.GeneratorBasedBuilder`.

    Raises:
        ImportError: if TensorFlow Datasets is not installed.

    Example:

    >>> uec_food100_builder().__name__
    'UecFood100'
    """
    tfds = parts.import_tfds()

    class UecFood100(tfds.core.GeneratorBasedBuilder):
        """UEC Food-100: Japanese dishes with boxes, in five folds."""

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "Folds of keras_warn, photo by photo."}
        MANUAL_DOWNLOAD_INSTRUCTIONS = (
            "Download dataset100.zip from "
            "http://foodcam.mobi/dataset100.html and unpack it, so that "
            "there is `manual_dir/UECFOOD100/category.txt` and, for each "
            "class, `manual_dir/UECFOOD100/1/bb_info.txt` beside its photos."
        )

        def _info(self):
            return parts.info(
                self,
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "photo": tfds.features.Scalar(np.int64),
                },
                homepage="http://foodcam.mobi/dataset100.html",
                citation=(
                    "Matsuda, Hoashi, Yanai: Recognition of Multiple-Food "
                    "Images by Detecting Candidate Regions. ICME 2012."
                ),
            )

        def _split_generators(self, dl_manager):
            folder = dl_manager.manual_dir / "UECFOOD100"
            food = uec_food100.load_uec_food100(folder)
            return parts.generators(self, food, folder)

        def _generate_examples(self, listing, folder, indices):
            for key, example in parts.examples(listing, folder, indices):
                height, width = images.image_size(example["image"])
                box = listing.boxes[key] / (height, width, height, width)
                top, left, bottom, right = box.clip(0, 1).tolist()
                yield (
                    key,
                    {
                        **example,
                        "bbox": tfds.features.BBox(top, left, bottom, right),
                        "photo": listing.groups[key],
                    },
                )

    return UecFood100
