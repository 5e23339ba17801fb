"""Stanford Dogs: 120 breeds.

    python recipes/stanford_dogs.py --data-dir FOLDER
    python recipes/stanford_dogs.py --smoke

Section 4.4 of "Attend and Rectify", column "Dogs" of Tables 3 and 4.

Other commands, settings, and differences from the paper: as of `cub200.py`.

Results: not yet measured.
"""

import archives
import cub200
from recipe import Recipe

RECIPE = Recipe(
    name="stanford_dogs",
    load=archives.stanford_dogs,
    tfds="stanford_dogs",
    folder="a folder with Images/, Annotation/ and the lists of the "
    "published archives",
    settings=cub200.RECIPE.settings,
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
