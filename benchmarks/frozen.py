"""What attention is worth on a frozen backbone, beside heads of equal size.

    python benchmarks/frozen.py "CUB, 50 birds" \\
        --images CUB_200_2011_first50 --cache features \\
        --backbone "MobileNetV2(alpha=0.35)" --image-size 128 \\
        --weights mobilenet_v2_0.35_128_notop.weights.h5

All heads read the same feature maps, which are computed once for a few random
crops of each image. Learning rate and weight decay of each head are the best
of `GRID` on the validation images, and chosen before any test image is seen.
Then each head is trained with `--seeds`, and tested after its last epoch.

Rows are added to `--out`: one a head and seed, with what was chosen, and which
test images were predicted correctly, as bits. Stopped or killed, the same
command resumes with the heads and seeds that are missing.
`benchmarks/evidence.py` draws the rows.
"""

import itertools
import pathlib
import time

# First, for what it sets before TensorFlow is imported.
from measuring import rows  # isort: skip
import keras
from measuring import trainings

import keras_warn
from keras_warn import data

# Learning rates of AdamW, and weight decays, which it multiplies by them.
GRID = [
    {"rate": rate, "decay": decay}
    for rate, decay in itertools.product((1e-3, 3e-3, 1e-2), (0.01, 0.3))
]
QUERIES = 16  # of Efficient Probing
PROJECTION = 64  # channels to which a variant of attention projects maps


def held_uniform(head):
    """The head, with masks that are the mean over positions, and stay it."""
    for layer in head.layers:
        if isinstance(layer, keras_warn.AttentionHeads):
            layer.kernel.assign(keras.ops.zeros_like(layer.kernel))
            layer.trainable = False
    return head


def dense(inputs, read, classes, units=0):
    """A classifier, linear or with a hidden layer, of pooled maps."""
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in read]
    x = keras.layers.Concatenate()(pooled)
    if units:
        x = keras.layers.Dense(units, "relu", kernel_initializer="he_normal")(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def efficient_probing(inputs, read, classes):
    """One classifier, of channels that are sliced among masks.

    Queries score positions, each mask pools its slice of linearly mapped
    channels, and a normalisation without weights comes before the classifier:
    Psomas et al., "Attention, please! Revisiting attentive probing through the
    lens of efficiency", ICLR 2026 (arXiv 2506.10178).
    """
    slices = []
    for x in read:
        channels = x.shape[-1]
        scaled = keras.layers.Rescaling(channels**-0.5)(x)
        masks = keras_warn.AttentionHeads(
            QUERIES, kernel_initializer=keras.initializers.RandomNormal(0, 0.02)
        )(scaled)
        attended = keras_warn.AttendedFeatures()(x, masks)
        values = keras.layers.EinsumDense(
            "bkc,kcs->bks", (QUERIES, channels // QUERIES)
        )(attended)
        slices.append(keras.layers.Flatten()(values))
    x = keras.layers.Concatenate()(slices)
    x = keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-6, momentum=0.9
    )(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def features_and_heads(trunk, classes, width):
    """What all heads read of a frozen trunk, and heads by their names."""

    def attended(name, **arguments):
        model = keras_warn.augment(
            trunk,
            classes,
            name=name,
            classifier_activation=None,
            **{"width": width, **arguments},
        )
        return keras_warn.split(model)

    def of_full_rank(name, **arguments):
        return attended(name, rank="full", **arguments)[1]

    features, ours = attended("ours")
    full = of_full_rank("full")
    maps = [keras.Input(x.shape[1:]) for x in features.outputs]
    # What the trunk pools.
    last = [x for x in maps if x.shape[-1] == trunk.output_shape[-1]][:1]

    def perceptron(read, head):
        """A hidden layer by which it has as many parameters as a head."""
        channels = sum(x.shape[-1] for x in read)
        rest = head.count_params() - classes
        units = round(rest / (channels + classes + 1))
        return dense(maps, read, classes, units)

    narrow = {"projection": PROJECTION}
    return features, {
        "linear": dense(maps, last, classes),
        "linear, all maps": dense(maps, maps, classes),
        "MLP": perceptron(last, ours),
        "MLP, all maps": perceptron(maps, ours),
        "uniform masks": held_uniform(attended("uniform")[1]),
        "Efficient Probing": efficient_probing(maps, last, classes),
        "Efficient Probing, all maps": efficient_probing(maps, maps, classes),
        "paper": attended("paper", preset="paper")[1],
        "reference's loss": of_full_rank("reference", gates="softmax"),
        "attention": ours,
        # Variants of attention, and what is as large.
        "MLP, large": perceptron(last, full),
        "MLP, large, all maps": perceptron(maps, full),
        "uniform masks, full rank": held_uniform(of_full_rank("uniform_full")),
        "attention, full rank": full,
        f"uniform masks, {PROJECTION} channels": held_uniform(
            of_full_rank("uniform_narrow", **narrow)
        ),
        f"attention, {PROJECTION} channels": of_full_rank("narrow", **narrow),
    }


def correct(heads, cache):
    """Which images heads predict correctly, booleans `(heads, b)`."""
    model = trainings.side_by_side(heads)
    model.compile(jit_compile=False)
    return (cache.predict(model).argmax(axis=-1) == cache.labels[:, None]).T


def milliseconds(head, cache, steps=20):
    """Process CPU time of a training step of one head, an image."""
    model = trainings.side_by_side([head])
    model.compile("adamw", trainings.sum_of_losses, jit_compile=False)
    batch = cache.batch(0, 0)
    model.train_on_batch(*batch)
    start = time.process_time()
    for _ in range(steps):
        model.train_on_batch(*batch)
    return 1e3 * (time.process_time() - start) / steps / cache.batch_size


def main(argv=None):
    parser = trainings.images_parser(__doc__, "frozen.csv")
    add = parser.add_argument
    add("--width", type=int, default=8, help="heads of a module")
    add("--cache", type=pathlib.Path, required=True, help="folder of features")
    s = parser.parse_args(argv)

    parts = trainings.load(s.images)
    classes = len(parts["train"].names)
    trunk = trainings.trunk_of(s, classes)
    run = {**trainings.about(s), "width": s.width, "epochs": s.epochs}

    def fresh(seed):
        keras.utils.set_random_seed(seed)
        return features_and_heads(trunk, classes, s.width)

    features, names = fresh(0)
    crop, center = trainings.crops(s.image_size)
    batches = data.TrainingBatches(parts["train"], crop, trainings.BATCH)
    learning = trainings.cached(features, batches, s.cache, trainings.VIEWS)
    judging = {
        name: trainings.cached(
            features,
            data.TestBatches(parts[name], center, trainings.BATCH),
            s.cache,
        )
        for name in ("validation", "test")
    }

    def measured(part, names, seed, rate, decay):
        _, heads = fresh(seed)
        heads = [heads[name] for name in names]
        trainings.train(heads, learning, s.epochs, seed, rate, decay)
        right = correct(heads, judging[part])
        for head, of_head in zip(heads, right, strict=True):
            columns = rows.tested(of_head)
            columns["parameters"] = head.count_params()
            if part == "test":
                columns["milliseconds"] = milliseconds(head, learning)
            yield columns

    rows.tune_and_test(s.out, run, GRID, names, s.seeds, measured)


if __name__ == "__main__":
    main()
