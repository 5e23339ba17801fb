"""What attention is worth where the backbone is trained, too.

    python benchmarks/fine_tuned.py "CUB, 50 birds" \\
        --images CUB_200_2011_first50 --image-size 128 \\
        --backbone "MobileNetV2(alpha=0.35)" \\
        --weights mobilenet_v2_0.35_128_notop.weights.h5

The backbone alone, and with the attention of `VARIANTS`, each trained from the
same weights on the same images in the same order. The learning rate of each is
the best of `RATES` on the validation images, and chosen before any test image
is seen. Then each is trained with `--seeds`, and tested after its last epoch.
Rows are added to `--out`, as by `benchmarks/frozen.py`: stopped or killed, the
same command resumes with the first training that is missing.
"""

import functools
import time

# First, for what it sets before TensorFlow is imported.
import frozen  # isort: skip
import keras
from measuring import rows
from measuring import trainings

import keras_warn
from keras_warn import data
from keras_warn import optimizers
from keras_warn import training

RATES = (3e-4, 1e-3)  # of the backbone, by AdamW
DECAY, FASTER = 0.01, 10  # of all; how much faster new layers learn
BATCH = 32

OF_FULL_RANK = functools.partial(keras_warn.augment, rank="full")
VARIANTS = {
    "baseline": lambda backbone: backbone,
    "uniform masks": lambda backbone: frozen.held_uniform(
        keras_warn.augment(backbone)
    ),
    # With as many heads as ours.
    "paper": lambda backbone: keras_warn.augment(
        backbone, preset="paper", width=8
    ),
    "attention": keras_warn.augment,
    "uniform masks, full rank": lambda backbone: frozen.held_uniform(
        OF_FULL_RANK(backbone)
    ),
    "attention, full rank": OF_FULL_RANK,
}


def trained(model, batches, epochs, rate):
    steps = len(batches)
    optimizer = trainings.adamw(rate, DECAY, epochs, steps)
    new = {"classifier/.*": FASTER}
    if any(isinstance(x, keras_warn.GatedSum) for x in model.layers):
        new = optimizers.attention_factors(model, FASTER)
    model.compile(
        optimizers.MultiRateOptimizer(optimizer, new),
        "categorical_crossentropy",
        jit_compile=False,
    )
    model.fit(
        batches.dataset(), epochs=epochs, steps_per_epoch=steps, verbose=0
    )
    return model


def main(argv=None):
    parser = trainings.images_parser(__doc__, "fine_tuned.csv", epochs=20)
    s = parser.parse_args(argv)

    parts = trainings.load(s.images)
    parts = {name: trainings.decoded(part) for name, part in parts.items()}
    crop, center = trainings.crops(s.image_size)
    run = {"data": s.name, "backbone": s.backbone, "epochs": s.epochs}

    def measured(part, names, seed, rate):
        batches = data.TrainingBatches(parts["train"], crop, BATCH, seed)
        test = data.TestBatches(parts[part], center, BATCH)
        for name in names:
            keras.utils.clear_session()
            keras.utils.set_random_seed(seed)
            start = time.process_time()
            classes = len(parts["train"].names)
            backbone = training.build_network(
                s.backbone, classes, s.image_size, s.weights
            )
            model = VARIANTS[name](backbone)
            model = trained(model, batches, s.epochs, rate)
            seconds = time.process_time() - start
            correct = test.predict(model).argmax(axis=-1) == test.labels
            yield {
                "decay": DECAY,
                "parameters": model.count_params(),
                "milliseconds": 1e3 * seconds / s.epochs / len(parts["train"]),
                **rows.tested(correct),
            }

    grid = [{"rate": rate} for rate in RATES]
    rows.tune_and_test(s.out, run, grid, VARIANTS, s.seeds, measured)


if __name__ == "__main__":
    main()
