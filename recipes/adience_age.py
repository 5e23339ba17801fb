"""Adience: age from faces, five folds.

    python recipes/adience_age.py --data-dir FOLDER
    python recipes/adience_age.py --smoke

Section 4.4 of "Attend and Rectify", column "Age" of Tables 3 and 4.
Tested by five-fold cross-validation on the published folds: one command runs
all of them and prints their mean.

Other commands, settings, and differences from the paper: as of `cub200.py`.

Results: not yet measured.
"""

import functools

import archives
import cub200
from recipe import Recipe

RECIPE = Recipe(
    name="adience_age",
    load=functools.partial(archives.adience, task="age"),
    folder="the published folder, with fold_0_data.txt, ... and aligned/ "
    "or faces/",
    settings=cub200.RECIPE.settings,
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
