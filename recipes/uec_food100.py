"""UEC Food-100: Japanese dishes, cut out by their boxes.

    python recipes/uec_food100.py --data-dir FOLDER
    python recipes/uec_food100.py --smoke

Section 4.4 of "Attend and Rectify", column "Food" of Tables 3 and 4.
There is no published split: five folds are tested one after another, and no
photo is in two of them.

Other commands, settings, and differences from the paper: as of `cub200.py`.

Results: not yet measured.
"""

import archives
import cub200
from recipe import Recipe

RECIPE = Recipe(
    name="uec_food100",
    load=archives.uec_food100,
    folder="UECFOOD100 of the published archive",
    cropped=True,
    settings=cub200.RECIPE.settings,
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
