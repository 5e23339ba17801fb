"""Adience: gender from faces, as `adience_age.py` tells their age.

    python recipes/adience_gender.py --data-dir FOLDER
    python recipes/adience_gender.py --smoke

Section 4.4 of "Attend and Rectify", column "Gender" of Tables 3 and 4.

Results: not yet measured.
"""

import dataclasses
import functools

import adience_age
import archives

RECIPE = dataclasses.replace(
    adience_age.RECIPE,
    name="adience_gender",
    load=functools.partial(archives.adience, task="gender"),
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
