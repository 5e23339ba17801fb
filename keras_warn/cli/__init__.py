"""The command `keras-warn`: models looked into, and runs gathered."""

from keras_warn.cli.main import main as main
