"""The models that are compared, and what they are fed."""

import argparse

import keras
import numpy as np
from keras import ops

import keras_warn
from keras_warn.attention import attention_of
from keras_warn.training import backbones
from measuring.direct_formulation import direct_formulation

# Small, so that hundreds of steps on noise do not reach infinity, with which
# arithmetic takes another time.
LEARNING_RATE = 1e-4


def changed(s, **values):
    """Settings with other values."""
    return argparse.Namespace(**{**vars(s), **values})


def build_backbone(s):
    keras.utils.set_random_seed(0)
    return backbones.applications()[s.backbone](
        include_top=True,
        weights=None,
        input_shape=(s.image_size, s.image_size, 3),
        classes=s.classes,
    )


def augmented(backbone, s, kernel_size, **options):
    return keras_warn.augment(
        backbone,
        preset=s.preset,
        depth=s.depth,
        width=s.width,
        kernel_size=kernel_size,
        projection=s.projection,
        diversity_weight=0,
        **options,
    )


def build(s, kernel_size):
    """The models to compare, by name, on one set of backbone layers."""
    backbone = build_backbone(s)
    ours = augmented(backbone, s, kernel_size)
    return {
        "backbone": backbone,
        "ours": ours,
        "direct": direct_formulation(ours),
    }


def attention_inputs(ours):
    """What the attention reads: maps, pooled features, the network's logits."""
    attention = attention_of(ours)
    return [
        *(module.source for module in attention.modules),
        attention.global_gates.input,
        attention.backbone_logits,
    ]


def attention_alone(models):
    """The attention of `models` as models of their own."""
    inputs = attention_inputs(models["ours"])
    return {
        name: keras.Model(inputs, model.output, name=f"{name}_attention")
        for name, model in models.items()
        if name != "backbone"
    }


def random_batch(model, batch_size):
    """Inputs and labels of `model`, on the device."""
    random = np.random.default_rng(0)
    inputs = [
        ops.convert_to_tensor(
            random.normal(size=(batch_size, *tensor.shape[1:])), "float32"
        )
        for tensor in model.inputs
    ]
    labels = random.integers(model.output_shape[-1], size=batch_size)
    return (
        inputs if len(inputs) > 1 else inputs[0],
        ops.convert_to_tensor(labels, "int32"),
    )


def compile_model(model, xla=False):
    """Plain SGD: one multiplication and one subtraction a parameter."""
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE),
        "sparse_categorical_crossentropy",
        jit_compile=xla or "auto",
    )
    model.optimizer.build(model.trainable_variables)
