"""The command `keras-warn`: models are trained, used and looked into."""

from keras_warn.cli.main import main as main
