"""CUB-200-2011: birds of 200 species.

    python recipes/cub200.py --data-dir FOLDER
    python recipes/cub200.py --data-dir FOLDER --baseline
    python recipes/cub200.py --data-dir FOLDER \\
        --attention preset=paper --out runs/cub200_paper
    python recipes/cub200.py --smoke

Section 4.4 of "Attend and Rectify", column "Birds" of Tables 3 and 4.
A pretrained backbone is fine-tuned with attention and, by --baseline, without.
Boxes and parts are not used. All six recipes of this section have these
settings.

Differences from the paper: attention side by side with the backbone, and the
paper's by `preset=paper`; ResNet50V2, since Keras has no wide ResNet-50 that is
pretrained; a tenth of the training images is split off, by which the plateau is
found; "every 30 iterations" is read as every 30 epochs.

Results: not yet measured on all classes. On the first 50, with a MobileNetV2
for processors: recipes/README.md.
"""

import archives
from recipe import Recipe

from keras_warn import training

RECIPE = Recipe(
    name="cub200",
    load=archives.cub200,
    tfds="caltech_birds2011",
    folder="CUB_200_2011 of the published archive",
    settings=training.Settings(
        # The backbone, and what is added to it.
        backbone="ResNet50V2",
        weights="imagenet",
        attention={"depth": 3},
        # Images: shorter edge 256, random 224x224, mirrored half of the time.
        image_size=224,
        resize_shorter_edge=256,
        # Training: 0.001, and ten times as much for attention and classifier,
        # divided by ten every 30 epochs, until nothing improves.
        epochs=100,
        batch_size=64,
        optimizer="sgd",
        learning_rate=1e-3,
        attention_factor=10,
        schedule="steps",
        decay_every=30,
        patience=30,
        validation_share=0.1,
    ),
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
