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

import dataclasses
import functools
import time

# First, for what it sets before TensorFlow is imported.
import frozen  # isort: skip
import keras

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


def decoded(images):
    """The same images, decoded once instead of in every epoch."""
    return dataclasses.replace(images, contents=frozen.pixels_of(images))


def trained(build, batches, epochs, rate, seed):
    """What `build` returns, after its last epoch; `seed` is of new weights."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = build()
    steps = len(batches)
    optimizer = frozen.adamw(rate, DECAY, epochs, steps)
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
    s = frozen.make_parser(__doc__, 20, "fine_tuned.csv").parse_args(argv)

    parts = [decoded(images) for images in frozen.load(s.images)]
    crop, center = frozen.crops(s.image_size)
    validating, testing = (
        data.TestBatches(images, center, BATCH) for images in parts[1:]
    )
    classes = len(parts[0].names)

    def train(variant, rate, seed):
        batches = data.TrainingBatches(parts[0], crop, BATCH, seed)

        def build():
            backbone = training.build_network(
                s.backbone, classes, s.image_size, s.weights
            )
            return VARIANTS[variant](backbone)

        return trained(build, batches, s.epochs, rate, seed)

    run = {"data": s.name, "backbone": s.backbone, "epochs": s.epochs}
    for rate in RATES:
        for variant in VARIANTS:
            row = {**run, "part": "validation", "head": variant, "rate": rate}
            if len(frozen.rows(s.out, row)):
                continue
            model = train(variant, rate, seed=0)
            said = validating.predict(model).argmax(axis=-1)
            accuracy = (said == validating.labels).mean()
            frozen.add_rows(s.out, [{**row, "seed": 0, "accuracy": accuracy}])
            says = f"{variant}, {rate:g}: {accuracy:.3f} of validation"
            print(says, flush=True)

    best = frozen.tuned(s.out, run)
    for seed in s.seeds:
        for variant, rate in zip(best["head"], best["rate"], strict=True):
            row = {**run, "part": "test", "head": variant, "seed": seed}
            if len(frozen.rows(s.out, row)):
                continue
            start = time.process_time()
            model = train(variant, rate, seed)
            images = s.epochs * len(parts[0])
            cost = 1e3 * (time.process_time() - start) / images
            correct = testing.predict(model).argmax(axis=-1) == testing.labels
            row |= {
                "rate": rate,
                "decay": DECAY,
                "parameters": model.count_params(),
                "milliseconds": cost,
                **frozen.tested(correct),
            }
            frozen.add_rows(s.out, [row])
            share = row["accuracy"]
            print(f"{variant}, seed {seed}: {share:.3f} of test", flush=True)


if __name__ == "__main__":
    main()
