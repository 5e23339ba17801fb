"""CIFAR-10: a wide ResNet with attention, from scratch.

    python recipes/cifar10.py
    python recipes/cifar10.py --baseline
    python recipes/cifar10.py --data-dir FOLDER --smoke

Stands for section 4.3 and Table 2 of "Attend and Rectify": WRN-28-10
(`--baseline`) and WARN-28-10. Attention is `preset="paper"`, with the 3x3
kernels, pooled penalty and batch-normalised gates of the authors' code.

Differences from the paper: cosine decay instead of steps, and a tenth of the
training images is split off for validation (`--validation-share 0` trains on
all of them). Meant for a GPU: an epoch takes hours on two cores.

Results: not yet measured.
"""

import functools

import archives
from recipe import Recipe
from recipe import shifts

from keras_warn import training

RECIPE = Recipe(
    name="cifar10",
    load=functools.partial(archives.cifar, classes=10),
    tfds="cifar10",
    folder="cifar-10-batches-bin",
    transforms=shifts,
    settings=training.Settings(
        # The backbone, and what is added to it.
        backbone="paper_networks:WideResNet(depth=28, width=10)",
        weights="none",
        attention={
            "preset": "paper",
            "depth": 3,
            "kernel_size": 3,
            "diversity_pool": 2,
            "gate_batch_norm": True,
        },
        # Images: moved by up to 4 pixels, mirrored half of the time.
        image_size=32,
        resize_shorter_edge=32,
        # Training, from scratch. Weight decay is decoupled; with momentum 0.9
        # it pulls as 5e-4 in the loss does, the paper's value.
        epochs=200,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.1,
        attention_factor=1,
        weight_decay=5e-3,
        schedule="cosine",
        warmup=1,
        freeze_batch_norm=False,
        validation_share=0.1,
    ),
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
