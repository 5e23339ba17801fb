"""Stanford Cars: 196 models of cars.

    python recipes/stanford_cars.py --data-dir FOLDER
    python recipes/stanford_cars.py --smoke

Section 4.4 of "Attend and Rectify", column "Cars" of Tables 3 and 4.
The link that TensorFlow Datasets has for it is dead (2026-11): give the folder
of a copy.

Other commands, settings, and differences from the paper: as of `cub200.py`.

Results: not yet measured.
"""

import archives
import cub200
from recipe import Recipe

RECIPE = Recipe(
    name="stanford_cars",
    load=archives.stanford_cars,
    tfds="cars196",
    folder="a folder with cars_train/, cars_test/ and devkit/",
    settings=cub200.RECIPE.settings,
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
