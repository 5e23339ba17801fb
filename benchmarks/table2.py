"""Table 2 of the paper: what its networks cost, side by side.

    python benchmarks/table2.py
    KERAS_BACKEND=jax python benchmarks/table2.py
    python benchmarks/table2.py --smoke  # seconds, of tiny networks

Of ResNeXt-29 (16x64d), DenseNet-190, WRN-28-10, WRN-40-10, WRN-att2,
WARN-28-10 and WARN-40-10, for 32x32 images and 10 classes, with random
weights: parameters that are trained, products (`measuring/products.py`), and
the time of Keras's compiled prediction, on a batch that lies on the device.
Networks take turns, batch by batch; each WARN and its WRN do so alone as well,
in more rounds: whether attention is as good as free is a matter of percents.

The paper forwards 10,000 images in batches of 256. So does this on a GPU; on a
processor it is 32 images in batches of 4, and seconds are scaled to 10,000
images: two minutes on two cores. Errors are the paper's: nothing is trained.

Writes `results.json` (with every single sample), `table2.md` and `figure5.png`
to `--out`. A run that was stopped resumes where it was: start it again.
"""

import logging
import math

# First, for what it sets before TensorFlow is imported.
from measuring import command  # isort: skip
import keras
from measuring import environment
from measuring import models
from measuring import table2_networks as paper
from measuring import table2_report as report
from measuring import timing
from measuring.products import products

from keras_warn.cli.options import count

# Images of a network, images of one of a pair, and images of a batch.
ON_GPU = {
    "images": paper.IMAGES,
    "pair_images": 4 * paper.IMAGES,
    "batch_size": paper.BATCH_SIZE,
}
ON_CPU = {"images": 32, "pair_images": 200, "batch_size": 4}
SMOKE = {"images": 6, "pair_images": 10, "batch_size": 2}


def measure(s, names, base, rounds):
    """Parameters, products and times of networks, by name."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    made = paper.constructors(s.smoke)
    networks = {name: made[name]() for name in names}
    # The same for all networks.
    images, _ = models.random_batch(networks[base], s.batch_size)
    steps = {}
    for name, network in networks.items():
        network.compile()
        steps[name] = timing.prediction(network, images)
    title = f"{' / '.join(names)}, batch of {s.batch_size}"
    times = timing.take_turns(title, steps, rounds)
    return {
        name: {
            **counts(network),
            # With its ratio to the base in each round.
            "time": timing.summary(
                name,
                "ms",
                [{"backbone": r[base], "ours": r[name]} for r in times],
            ),
        }
        for name, network in networks.items()
    }


def measure_pair(s, base, attended):
    """What attention adds to a network, as ratios."""
    backbone, ours = measure(s, [base, attended], base, s.pair_rounds).values()
    ratios = {x: ours[x] / backbone[x] for x in ("parameters", "products")}
    return {"names": [base, attended], **ratios, "time": ours["time"]}


def counts(network):
    trained = [math.prod(v.shape) for v in network.trainable_variables]
    return {"parameters": sum(trained), "products": products(network)}


def main(argv=None):
    parser = command.make_parser(__doc__, "runs/table2")
    add = parser.add_argument
    add("--images", type=count(1), help="that each network forwards")
    add("--pair-images", type=count(1), help="the same, WRN against WARN")
    add("--batch-size", type=count(1))
    add("--smoke", action="store_true", help="tiny networks, a few images")
    s = parser.parse_args(argv)
    defaults = SMOKE if s.smoke else ON_GPU if environment.gpus() else ON_CPU
    for name, value in defaults.items():
        if getattr(s, name) is None:
            setattr(s, name, value)
    # Whole batches only.
    s.rounds = -(-s.images // s.batch_size)
    s.pair_rounds = -(-s.pair_images // s.batch_size)
    # It takes the graphs of many networks for one that is traced anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    run = command.opened(parser, s)
    print(report.scaling(vars(s)))
    names = [*paper.constructors(s.smoke)]
    given = s, names, paper.BASE, s.rounds
    networks = run.part("networks", measure, *given)
    pairs = {
        attended: run.part(f"pair_{attended}", measure_pair, s, base, attended)
        for base, attended in paper.PAIRS
    }
    result = {
        "settings": vars(s),
        "environment": environment.environment(),
        "networks": networks,
        "pairs": pairs,
    }
    plots = {"figure5": report.plot(result)}
    command.finish(run, result, "table2", report.markdown(result), plots)


if __name__ == "__main__":
    main()
