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
from measuring import command  # isort: skip
import keras
import numpy as np
import pandas as pd
from measuring import recipe_of

import keras_warn
from keras_warn import data
from keras_warn import files
from keras_warn import schedules
from keras_warn import training
from keras_warn.data import transforms

# Learning rates of AdamW, and weight decays, which it multiplies by them.
GRID = tuple(itertools.product((1e-3, 3e-3, 1e-2), (0.01, 0.3)))
BATCH, VIEWS = 64, 4
VALIDATION_SHARE = 0.2
QUERIES = 16  # of Efficient Probing
PROJECTION = 64  # channels to which a variant of attention projects maps


def attention(trunk, classes, **arguments):
    """Features and head of a backbone with attention, as users make them."""
    return keras_warn.split(
        keras_warn.augment(
            trunk, classes, classifier_activation=None, **arguments
        )
    )


def held_uniform(head):
    """The head, with masks that are the mean over positions, and stay it."""
    for layer in head.layers:
        if isinstance(layer, keras_warn.AttentionHeads):
            layer.kernel.assign(keras.ops.zeros_like(layer.kernel))
            layer.trainable = False
    return head


def joined(vectors):
    return keras.layers.Concatenate()(vectors) if vectors[1:] else vectors[0]


def dense(inputs, read, classes, units=0):
    """A classifier, linear or with a hidden layer, of pooled maps."""
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in read]
    x = joined(pooled)
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
    x = keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=1e-6, momentum=0.9
    )(joined(slices))
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def features_and_heads(trunk, classes, width):
    """What all heads read of a frozen trunk, and heads by their names."""

    def attended(**arguments):
        return attention(trunk, classes, width=width, **arguments)

    features, ours = attended(name="ours")
    maps = [keras.Input(x.shape[1:]) for x in features.outputs]
    # What the trunk pools.
    last = [x for x in maps if x.shape[-1] == trunk.output_shape[-1]][:1]

    def of_full_rank(name, **arguments):
        return attended(name=name, rank="full", **arguments)[1]

    def narrow(name):
        return of_full_rank(name, projection=PROJECTION)

    def perceptron(read, head):
        """A hidden layer by which it has as many parameters as a head."""
        channels = sum(x.shape[-1] for x in read)
        rest = head.count_params() - classes
        units = round(rest / (channels + classes + 1))
        return dense(maps, read, classes, units)

    full = of_full_rank("full")
    return features, {
        "linear": dense(maps, last, classes),
        "linear, all maps": dense(maps, maps, classes),
        "MLP": perceptron(last, ours),
        "MLP, all maps": perceptron(maps, ours),
        "uniform masks": held_uniform(attended(name="uniform")[1]),
        "Efficient Probing": efficient_probing(maps, last, classes),
        "Efficient Probing, all maps": efficient_probing(maps, maps, classes),
        "paper": attended(name="paper", preset="paper")[1],
        "reference's loss": of_full_rank("reference", gates="softmax"),
        "attention": ours,
        # Variants of attention, and what is as large.
        "MLP, large": perceptron(last, full),
        "MLP, large, all maps": perceptron(maps, full),
        "uniform masks, full rank": held_uniform(of_full_rank("uniform_full")),
        "attention, full rank": full,
        f"uniform masks, {PROJECTION} channels": held_uniform(
            narrow("uniform_narrow")
        ),
        f"attention, {PROJECTION} channels": narrow("narrow"),
    }


def side_by_side(heads):
    """One model of several heads, from maps to logits `(b, heads, n)`."""
    inputs = [keras.Input(x.shape[1:]) for x in heads[0].inputs]
    logits = [head(inputs) for head in heads]
    return keras.Model(inputs, keras.ops.stack(logits, axis=1))


def sum_of_losses(labels, logits):
    """Cross-entropy of each head, added up: `(b,)`."""
    labels = keras.ops.broadcast_to(labels[:, None], keras.ops.shape(logits))
    return keras.ops.sum(
        keras.losses.categorical_crossentropy(labels, logits, from_logits=True),
        axis=-1,
    )


def adamw(rate, decay, epochs, steps):
    """AdamW with cosine decay, after an epoch of warm-up to `rate`."""
    cosine = keras.optimizers.schedules.CosineDecay(rate, (epochs - 1) * steps)
    rate = schedules.WarmUp(cosine, steps)
    return keras.optimizers.AdamW(rate, weight_decay=decay)


def train(heads, cache, epochs, seed, rate, decay):
    """Trains heads that have no weight in common, each as it would alone.

    The seed says which orders of images they see.
    """
    model = side_by_side(heads)
    steps = len(cache)
    optimizer = adamw(rate, decay, epochs, steps)
    model.compile(optimizer, sum_of_losses, jit_compile=False)
    batches = cache.dataset(epoch=seed * epochs)
    model.fit(batches, epochs=epochs, steps_per_epoch=steps, verbose=0)


def correct(heads, cache):
    """Which images heads predict correctly, booleans `(heads, b)`."""
    model = side_by_side(heads)
    model.compile(jit_compile=False)
    return (cache.predict(model).argmax(axis=-1) == cache.labels[:, None]).T


def milliseconds(head, cache, steps=20):
    """Process CPU time of a training step of one head, an image."""
    model = side_by_side([head])
    model.compile("adamw", sum_of_losses, jit_compile=False)
    batch = cache.batch(0, 0)
    model.train_on_batch(*batch)
    start = time.process_time()
    for _ in range(steps):
        model.train_on_batch(*batch)
    return 1e3 * (time.process_time() - start) / steps / cache.batch_size


def trunk_of(s, classes):
    """The frozen backbone up to its pooled last map."""
    network = training.build_network(
        s.backbone, classes, s.image_size, s.weights, freeze=True
    )
    return keras.Model(network.inputs, network.get_layer("classifier").input)


def crops(size):
    """Random crops to learn from, and the middle of images to test."""
    edges = size, size * 8 // 7
    return transforms.RandomCrop(*edges), transforms.CenterCrop(*edges)


def load(folder):
    """Training, validation and test images of a folder."""
    archive = (folder / "images.txt").exists()
    dataset = recipe_of("cub200" if archive else "image_folder").read(folder)
    training_images = dataset.split("train")
    test = dataset.split("test")
    if "validation" in dataset.splits:
        return training_images, dataset.split("validation"), test
    return *training_images.hold_out(VALIDATION_SHARE, seed=0), test


def make_parser(description, epochs, out):
    """A parser of what to train on, how long, and where to write."""
    parser = command.plain_parser(description)
    add = parser.add_argument
    add("name", help="of the data, in the table")
    add("--images", required=True, type=pathlib.Path, metavar="DIR")
    add("--backbone", required=True, help="as of the recipes")
    add("--weights", default="imagenet", help="as of the recipes")
    add("--image-size", type=int, default=224)
    add("--epochs", type=int, default=epochs)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    add("--out", type=pathlib.Path, default=pathlib.Path(out))
    return parser


def name_of(backbone):
    """What a backbone is called in the table."""
    return pathlib.Path(backbone).name.removesuffix(".keras")


def main(argv=None):
    parser = make_parser(__doc__, epochs=30, out="frozen.csv")
    add = parser.add_argument
    add("--width", type=int, default=8, help="heads of a module")
    add("--cache", type=pathlib.Path, required=True, help="folder of features")
    s = parser.parse_args(argv)

    parts = load(s.images)
    classes = len(parts[0].names)
    trunk = trunk_of(s, classes)

    def fresh(seed):
        keras.utils.set_random_seed(seed)
        return features_and_heads(trunk, classes, s.width)

    features, _ = fresh(0)
    features.compile(jit_compile=False)
    crop, center = crops(s.image_size)
    learning, validating, testing = (
        training.FeatureCache(features, batches, s.cache, views, limit=None)
        for batches, views in (
            (data.TrainingBatches(parts[0], crop, BATCH), VIEWS),
            (data.TestBatches(parts[1], center, BATCH), 1),
            (data.TestBatches(parts[2], center, BATCH), 1),
        )
    )
    run = {
        "data": s.name,
        "backbone": name_of(s.backbone),
        "width": s.width,
        "epochs": s.epochs,
    }

    for rate, decay in GRID:
        row = {**run, "part": "validation", "rate": rate, "decay": decay}
        heads = missing(s.out, row, fresh(0)[1])
        if not heads:
            continue
        train([*heads.values()], learning, s.epochs, 0, rate, decay)
        found = correct([*heads.values()], validating)
        found = [
            {**row, "head": head, "seed": 0, "accuracy": is_correct.mean()}
            for head, is_correct in zip(heads, found, strict=True)
        ]
        add_rows(s.out, found)
        print(f"Tuned with a rate of {rate:g} and a decay of {decay:g}.")

    best = tuned(s.out, run)
    for seed in s.seeds:
        row = {**run, "part": "test", "seed": seed}
        heads = missing(s.out, row, fresh(seed)[1])
        found = []
        wanted = best[best["head"].isin(heads)]
        for (rate, decay), group in wanted.groupby(["rate", "decay"]):
            chosen = [heads[head] for head in group["head"]]
            train(chosen, learning, s.epochs, seed, rate, decay)
            is_correct = correct(chosen, testing)
            found += [
                {
                    **row,
                    "head": head,
                    "rate": rate,
                    "decay": decay,
                    "parameters": model.count_params(),
                    "milliseconds": milliseconds(model, learning),
                    **tested(of_head),
                }
                for head, model, of_head in zip(
                    group["head"], chosen, is_correct, strict=True
                )
            ]
        if found:
            add_rows(s.out, found)
            print(f"Tested seed {seed}.", flush=True)


def pixels_of(images):
    return [images.read(i) for i in range(len(images))]


def read(path):
    return pd.read_csv(path, dtype={"correct": str})


def tuned(path, run):
    """The best row of each head in validation, the first of equals."""
    found = rows(path, {**run, "part": "validation"})
    return found.loc[found.groupby("head", sort=False)["accuracy"].idxmax()]


def tested(correct):
    """Columns of a test: which images were predicted correctly, as bits."""
    return {
        "accuracy": correct.mean(),
        "images": correct.size,
        "correct": np.packbits(correct).tobytes().hex(),
    }


def missing(path, wanted, heads):
    """Those of the heads, by name, that no such row is of."""
    found = rows(path, wanted)
    done = set(found["head"]) if len(found) else ()
    return {name: head for name, head in heads.items() if name not in done}


def rows(path, wanted):
    """Rows of a table on disk that have these values."""
    if not path.exists():
        return []
    table = read(path)
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def add_rows(path, new):
    """Adds rows to a table on disk, all or none of them."""
    table = [read(path)] if path.exists() else []
    table = pd.concat([*table, pd.DataFrame(new)])
    with files.replacing(path) as unfinished:
        table.to_csv(unfinished, index=False)


if __name__ == "__main__":
    main()
