"""What attention adds to a network: parameters, operations, latency."""

import dataclasses
import statistics
import time

import keras
import numpy as np

from keras_warn.operations import operations

# Timed in turns, so that a machine that slows down slows both.
ROUNDS = 15
BATCH = 8


@dataclasses.dataclass(frozen=True)
class Cost:
    """What is added to a network alone, up to its own prediction.

    Attributes:
        parameters: Integer.
        operations: Integer, for one image.
        parameters_added: The same as a share of the network's.
        operations_added: The same as a share of the network's.
        latency_added: Time for a batch of 8 images, as a share of the
            network's; `None` if it was not measured.
    """

    parameters: int
    operations: int
    parameters_added: float
    operations_added: float
    latency_added: float | None = None


class Costs:
    """Counts the costs of attention for one network, each once.

    Args:
        network: The network alone, a functional `keras.Model`.
        attended: Function from arguments of `keras_warn.augment` to a model
            with that attention.
    """

    def __init__(self, network, attended):
        self.network = network
        self.attended = attended
        self.parameters = network.count_params()
        self.operations = sum(operations(network).values())
        self._known = {}

    def of(self, attention):
        """The `Cost` of attention, without its latency.

        Args:
            attention: Arguments of `keras_warn.augment`, a dictionary.

        Raises:
            TypeError, ValueError: if `augment` does not take them.
        """
        given = repr(sorted(attention.items()))
        if given not in self._known:
            # Always built, for `augment` to say what it does not take.
            model = self.attended(attention)
            # What changes the training alone costs the same.
            key = repr(
                sorted(
                    (name, value)
                    for name, value in attention.items()
                    if name not in ("agreement", "diversity", "gradient_scale")
                )
            )
            if key not in self._known:
                self._known[key] = self._counted(model)
            self._known[given] = self._known[key]
        return self._known[given]

    def with_latency(self, attention):
        """The `Cost` of attention, timed on this machine.

        Args:
            attention: Arguments of `keras_warn.augment`; `None` for none,
                which costs nothing.
        """
        if attention is None:
            return Cost(0, 0, 0.0, 0.0, 0.0)
        latency = latency_added(self.network, self.attended(attention))
        return dataclasses.replace(
            self.of(attention), latency_added=round(latency, 4)
        )

    def _counted(self, model):
        parameters = model.count_params() - self.parameters
        added = sum(operations(model).values()) - self.operations
        return Cost(
            parameters,
            added,
            parameters / self.parameters,
            added / self.operations,
        )


def latency_added(network, model):
    """How much longer a model takes than the network alone.

    Args:
        network: A `keras.Model` of one input.
        model: The same with attention.

    Returns:
        The added time as a share of the network's, for a batch of 8 images;
        the median of 15 rounds, in each of which both take their turn.
    """
    images = np.zeros((BATCH, *network.input_shape[1:]), "float32")
    for one in (network, model):
        one.predict_on_batch(images)
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for one in (network, model):
            begun = time.perf_counter()
            keras.ops.convert_to_numpy(one.predict_on_batch(images))
            seconds.append(time.perf_counter() - begun)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios) - 1
