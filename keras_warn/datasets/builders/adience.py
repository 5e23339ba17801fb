"""Adience for TensorFlow Datasets."""

import functools

from keras_warn.datasets import adience
from keras_warn.datasets.builders import parts


@functools.cache
def adience_builder():
    """The class `Adience`, registered as "adience".

    Its configurations are the tasks of `load_adience`: "adience/gender" and
    "adience/age". `user_id` is the user whose album a face is from, and
    `index` the number of the example in the `Listing`.

    Returns:
        A subclass of `tfds.core.GeneratorBasedBuilder`.

    Raises:
        ImportError: if TensorFlow Datasets is not installed.

    Example:

    >>> [config.name for config in adience_builder().BUILDER_CONFIGS]
    ['gender', 'age']
    """
    tfds = parts.import_tfds()

    class Adience(tfds.core.GeneratorBasedBuilder):
        """Adience: faces with age and gender, in the published folds."""

        VERSION = tfds.core.Version("1.0.0")
        RELEASE_NOTES = {"1.0.0": "The published folds."}
        BUILDER_CONFIGS = [
            tfds.core.BuilderConfig(
                name="gender", description="Two classes: female and male."
            ),
            tfds.core.BuilderConfig(
                name="age", description="Eight classes, 0-2 to 60-100 years."
            ),
        ]
        MANUAL_DOWNLOAD_INSTRUCTIONS = (
            "Register at https://talhassner.github.io/home/projects/Adience/"
            "Adience-data.html, download the folds and aligned.tar.gz (or "
            "faces.tar.gz), and unpack them, so that there is "
            "`manual_dir/Adience/fold_0_data.txt`, the other four, and "
            "`manual_dir/Adience/aligned/` (or `faces/`)."
        )

        def _info(self):
            return parts.info(
                self,
                {"user_id": tfds.features.Text()},
                homepage=(
                    "https://talhassner.github.io/home/projects/Adience/"
                    "Adience-data.html"
                ),
                citation=(
                    "Eidinger, Enbar, Hassner: Age and Gender Estimation of "
                    "Unfiltered Faces. TIFS 2014."
                ),
            )

        def _split_generators(self, dl_manager):
            folder = dl_manager.manual_dir / "Adience"
            faces = adience.load_adience(folder, self.builder_config.name)
            return parts.generators(self, faces, folder)

        def _generate_examples(self, listing, folder, indices):
            for key, example in parts.examples(listing, folder, indices):
                user = listing.paths[key].parent.name
                yield key, {**example, "user_id": user}

    return Adience
