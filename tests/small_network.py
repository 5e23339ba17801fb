"""A network for trainings that are about something else."""

import keras
from keras import layers


def Small(include_top=False, input_shape=(32, 32, 3)):
    """As the settings of a recipe name one: `"small_network:Small"`."""
    x = inputs = keras.Input(input_shape)
    for name, filters in (("stem", 5), ("block", 7)):
        x = layers.Conv2D(filters, 3, 2, "same", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.ReLU(name=f"{name}_act")(x)
    return keras.Model(inputs, x, name="small")
