"""What `explanations.json` says about an image."""

import numpy as np

from keras_warn.attention import module_outputs

# Predictions of each image that are written down, the best ones.
TOP = 3


def entry(one, names, preprocessor, image_size) -> dict:
    """The explanation of one image, for JSON.

    Args:
        one: An `Explanation` of one image.
        names: Names of the classes, or `None`.
        preprocessor: The `inputs.Preprocessor` that the image came by.
        image_size: The image's own height and width.

    Returns:
        A dictionary.
    """

    def class_of(number):
        name = None if names is None else names[number]
        return {"class": int(number), "name": name}

    def best(probabilities):
        order = np.argsort(-probabilities[0], kind="stable")[:TOP]
        return [
            {**class_of(i), "probability": float(probabilities[0, i])}
            for i in order
        ]

    target, contrast = one.targets[0], one.contrast[0]
    backbone, *modules = one.contributions[0].tolist()
    gates = head_gates = None
    if one.gates is not None:
        gates = one.gates[0].tolist()
        head_gates = [
            outputs.head_gates[0].tolist()
            for outputs in module_outputs(one.intermediates)
        ]
    return {
        "height": image_size[0],
        "width": image_size[1],
        "backbone": best(one.backbone_probabilities),
        "attention": best(one.attention_probabilities),
        "output": best(one.probabilities),
        "changed": bool(one.changed[0]),
        "target": class_of(target),
        "contrast": class_of(contrast),
        "gates": gates,
        "head_gates": head_gates,
        "scale": one.scale,
        "contributions": {
            "backbone": backbone,
            "modules": modules,
            "heads": [
                (heads[0, :, target] - heads[0, :, contrast]).tolist()
                for heads in one.heads
            ],
        },
        "strongest_evidence": _strongest(
            one.attribution, preprocessor, image_size
        ),
    }


def _strongest(attribution, preprocessor, image_size):
    """Where most speaks for the target: a pixel of the image, or `None`."""
    if attribution is None or attribution.max() <= 0:
        return None
    row, column = np.unravel_index(
        attribution[0].argmax(), attribution.shape[1:]
    )
    place = preprocessor.original(row, column, image_size)
    return None if place is None else {"row": place[0], "column": place[1]}
