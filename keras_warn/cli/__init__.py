"""The command `keras-warn`: explanations, reports and summaries of models."""

from keras_warn.cli.main import main as main
