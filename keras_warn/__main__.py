"""`python -m keras_warn`, the same as the command `keras-warn`."""

import sys

from keras_warn.cli import main

if __name__ == "__main__":
    sys.exit(main())
