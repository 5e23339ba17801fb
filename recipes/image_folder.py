"""Your own images: a backbone fine-tuned to tell their classes apart.

    python recipes/image_folder.py --data-dir FOLDER
    python recipes/image_folder.py --data-dir table.csv --baseline
    python recipes/image_folder.py --smoke

The folder has a folder for each class; or folders `train`, and perhaps
`validation` and `test`, with those in them. A table (CSV) has the columns
`path` and `label`, and perhaps `split`. Without images to test, a fifth of
the training images is split off, always the same.

The settings are those of `cub200.py`, but for two: 30 epochs with warm-up and
cosine decay, which suit a few thousand images; and batches of 32. The paper's
attention is `--attention preset=paper`.

Results: yours. Start from `--baseline`, choose `--learning-rate` by the
validation accuracy, and compare over several `--seeds`.
"""

from recipe import Recipe

from keras_warn import data
from keras_warn import training

RECIPE = Recipe(
    name="image_folder",
    load=data.load_image_folder,
    folder="a folder of class folders, or a table (CSV)",
    settings=training.Settings(
        # The backbone, and what is added to it.
        backbone="ResNet50V2",
        weights="imagenet",
        attention={"depth": 3},
        # Images: shorter edge 256, random 224x224, mirrored half of the time.
        image_size=224,
        resize_shorter_edge=256,
        # Training.
        epochs=30,
        batch_size=32,
        optimizer="sgd",
        learning_rate=1e-3,
        attention_factor=10,
        schedule="cosine",
        warmup=1,
        validation_share=0.1,
    ),
)

if __name__ == "__main__":
    RECIPE.main(__doc__)
