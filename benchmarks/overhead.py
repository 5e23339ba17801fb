"""What attention adds to a network: parameters, operations, time, memory.

    python benchmarks/overhead.py
    KERAS_BACKEND=jax python benchmarks/overhead.py --backbone MobileNetV2

Three models are compared, of the same weights:

- backbone: a network of `keras.applications`, randomly initialised;
- ours: `keras_warn.augment(backbone)`;
- direct: the paper's formulation as it is written. A convolution to the
  label-space map `(b, h, w, k * n)` and one to the gate map, which are then
  masked and summed. It is attached to the same feature maps, and its outputs
  are checked against ours before anything is measured.

How each number is taken:

- Operations: per image, by the counter of each backend (see `operations` of
  the backend classes below). A multiplication and an addition are two.
- Time: of the compiled `predict_step` and `train_step` of Keras, on a batch
  that lies on the device, until the results are there. Models take turns
  (A B C A B C ...), and a ratio is the median over rounds of the ratio within
  a round, so that a machine that slows down for a while slows all of them.
- Memory: what a training step needs beyond what lay in memory before the first
  one, in a fresh process for each model (see `measure_memory`).
- Modules alone: the attention layers as a model of their own, on fixed feature
  maps. "Forward and backward" has gradients for weights and feature maps.

Writes `overhead.json` (with every single sample), `overhead.md` and
`overhead.png` to `--out`.
"""

import argparse
import dataclasses
import datetime
import difflib
import functools
import gc
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

# Before TensorFlow is imported: its start-up lines are not ours to explain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

import keras_warn

MODELS = ("backbone", "ours", "direct")
FILES = ("overhead.json", "overhead.md", "overhead.png")
# Before timing: compilation, memory pools, and lazily chosen algorithms.
WARM_UP_STEPS = 2
MEMORY_STEPS = 3
TOLERANCE = 1e-4
# Small, so that hundreds of steps on noise do not reach infinity, with which
# arithmetic takes another time.
LEARNING_RATE = 1e-4


# --- The paper's direct formulation -----------------------------------------


class SpatialSoftmax(keras.layers.Layer):
    """Softmax over the positions of `(b, h, w, k)` (equation 1)."""

    def call(self, scores):
        _, height, width, heads = scores.shape
        flat = ops.reshape(scores, (-1, height * width, heads))
        return ops.reshape(ops.softmax(flat, axis=1), ops.shape(scores))


class MaskedSum(keras.layers.Layer):
    """Sum over positions of a map under each mask (equations 2, 3 and 5).

    From a map `(b, h, w, k * n)` and masks `(b, h, w, k)` to `(b, k, n)`.
    """

    def call(self, label_map, masks):
        heads = masks.shape[-1]
        shape = (-1, *masks.shape[1:], label_map.shape[-1] // heads)
        label_map = ops.reshape(label_map, shape)
        return ops.sum(label_map * masks[..., None], axis=(1, 2))


class TanhSoftmax(keras.layers.Layer):
    """Gates `(b, k)` from scores `(b, k, 1)` (equation 5)."""

    def call(self, scores):
        return ops.softmax(ops.tanh(scores[..., 0]), axis=-1)


def convolution(features, filters, kernel_size, name):
    """A convolution with zero padding and without bias, as a new layer."""
    layer = keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        name=name,
    )
    return layer, layer(features)


def convolution_kernel(kernel, kernel_size):
    """The kernel of a head-wise linear map, as that of one convolution.

    From `(k, d * c, n)` to `(kernel_size, kernel_size, c, k * n)`.
    """
    kernel = ops.convert_to_numpy(kernel)
    heads, _, outputs = kernel.shape
    kernel = kernel.reshape(heads, kernel_size, kernel_size, -1, outputs)
    kernel = np.moveaxis(kernel, 0, 3)
    return kernel.reshape(*kernel.shape[:3], heads * outputs)


def direct_module(ours, i):
    """The prediction `(b, n)` of module `i` of `ours`, in the direct way."""
    heads = ours.get_layer(f"module_{i}_masks")
    hypotheses = ours.get_layer(f"module_{i}_hypotheses").kernel
    gates = ours.get_layer(f"module_{i}_head_gates").kernel
    size, features, name = heads.kernel_size, heads.input, f"direct_{i}"
    width, _, classes = hypotheses.shape

    score_layer, scores = convolution(features, width, size, f"{name}_scores")
    masks = SpatialSoftmax(name=f"{name}_masks")(scores)
    label_layer, label_map = convolution(
        features, width * classes, size, f"{name}_label_map"
    )
    gate_layer, gate_map = convolution(
        features, width, size, f"{name}_gate_map"
    )
    score_layer.kernel.assign(heads.kernel)
    label_layer.kernel.assign(convolution_kernel(hypotheses, size))
    gate_layer.kernel.assign(convolution_kernel(gates[:, :, None], size))

    hypotheses = MaskedSum(name=f"{name}_hypotheses")(label_map, masks)
    gates = MaskedSum(name=f"{name}_gate_scores")(gate_map, masks)
    gates = TanhSoftmax(name=f"{name}_head_gates")(gates)
    return keras.layers.Dot(axes=1, name=f"{name}_prediction")(
        [gates, hypotheses]
    )


def modules(ours):
    """The numbers of the attention modules of `ours`: 1, 2, ..."""
    names = {layer.name for layer in ours.layers}
    last = sum(name.startswith("module_") for name in names)
    return [i for i in range(1, last + 1) if f"module_{i}_masks" in names]


def direct_formulation(ours):
    """The paper's formulation, with the weights and backbone of `ours`."""
    rectified = ours.get_layer("rectified")
    gates, network, *_ = keras.tree.flatten(rectified.input)
    predictions = [direct_module(ours, i) for i in modules(ours)]
    # A second layer of the same kind: one called twice has no single input,
    # which `keras_warn.inspect` reads.
    combine = keras_warn.GatedSum.from_config(rectified.get_config())
    return keras.Model(
        ours.inputs, combine(gates, [network, *predictions]), name="direct"
    )


def difference(ours, direct, images):
    """The largest difference of ours and direct, relative to the largest entry.

    Of the predictions of every module and of the models' outputs. The latter
    alone, probabilities over hundreds of classes, would all be near zero.
    """
    pairs = [(ours.output, direct.output)]
    for i in modules(ours):
        names = f"module_{i}_prediction", f"direct_{i}_prediction"
        pairs.append(
            (
                ours.get_layer(names[0]).output,
                direct.get_layer(names[1]).output,
            )
        )
    outputs = [tensor for pair in pairs for tensor in pair]
    values = keras.Model(ours.inputs, outputs)(images, training=False)
    values = [ops.convert_to_numpy(value) for value in values]
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(a)))
        for a, b in zip(values[::2], values[1::2], strict=True)
    )


# --- The models --------------------------------------------------------------


def constructors():
    """The networks of `keras.applications`, by name."""
    return {
        name: value
        for name, value in vars(keras.applications).items()
        if name[0].isupper() and callable(value)
    }


def build(settings, kernel_size, classes, direct):
    """The models to compare, by name, on one set of backbone layers."""
    keras.utils.set_random_seed(0)
    size = settings.image_size
    backbone = constructors()[settings.backbone](
        include_top=True,
        weights=None,
        input_shape=(size, size, 3),
        classes=classes,
    )
    ours = keras_warn.augment(
        backbone,
        depth=settings.depth,
        width=settings.width,
        kernel_size=kernel_size,
        projection=settings.projection,
    )
    models = {"backbone": backbone, "ours": ours}
    if direct:
        models["direct"] = direct_formulation(ours)
    return models


def attention_alone(models):
    """The attention of `models` as models of their own.

    Their inputs are the feature maps that are attended to, the pooled features
    for the global gates, and the network's own logits.
    """
    ours = models["ours"]
    layers = {layer.name: layer for layer in ours.layers}
    inputs = []
    for i in modules(ours):
        first = layers.get(f"module_{i}_projection")
        inputs.append((first or layers[f"module_{i}_masks"]).input)
    inputs.append(layers["global_gates"].input)
    inputs.append(keras.tree.flatten(layers["rectified"].input)[1])
    return {
        name: keras.Model(inputs, model.output, name=f"{name}_attention")
        for name, model in models.items()
        if name != "backbone"
    }


def random_batch(model, batch_size, seed=0):
    """Inputs and labels of `model`, on the device."""
    random = np.random.default_rng(seed)
    inputs = [
        ops.convert_to_tensor(
            random.normal(size=(batch_size, *tensor.shape[1:])), "float32"
        )
        for tensor in model.inputs
    ]
    labels = random.integers(model.output_shape[-1], size=batch_size)
    return _one_or_list(inputs), ops.convert_to_tensor(labels, "int32")


def _one_or_list(inputs):
    return list(inputs) if len(inputs) > 1 else inputs[0]


def compile_model(model):
    """Plain SGD: one multiplication and one subtraction a parameter."""
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE), "sparse_categorical_crossentropy"
    )
    model.optimizer.build(model.trainable_variables)


def mean_loss(labels, outputs):
    return ops.mean(
        keras.losses.sparse_categorical_crossentropy(labels, outputs)
    )


# --- What each backend does in its own way -----------------------------------


@dataclasses.dataclass
class Memory:
    """Bytes in use, their peak, and how to set the peak back to the present."""

    in_use: Callable
    peak: Callable
    reset_peak: Callable


def host_memory():
    """Resident memory of this process, or `None` where it cannot be read.

    Linux keeps the highest resident set (`VmHWM`, the `ru_maxrss` of
    `getrusage`) and lets a process set that mark back; so the peak is that of
    the steps, not of building the model.
    """
    marks = pathlib.Path("/proc/self/clear_refs")
    if not marks.exists():
        return None

    def read(field):
        status = pathlib.Path("/proc/self/status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return int(lines[field].split()[0]) * 1024

    return Memory(
        in_use=lambda: read("VmRSS"),
        peak=lambda: read("VmHWM"),
        reset_peak=lambda: marks.write_text("5"),
    )


class TensorFlow:
    """TensorFlow: `tf.function`, as `fit` and `predict` compile."""

    counter = "tf.compat.v1.profiler, float_operation; Einsum added"
    # Products of matrices: what nearly all operations are.
    products = (
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Conv2D",
        "DepthwiseConv2dNative",
        "Einsum",
        "MatMul",
    )

    def __init__(self):
        import tensorflow as tf

        # The profiler warns of its own use of a deprecated function.
        tf.get_logger().setLevel("ERROR")
        self.tf = tf
        self.gpus = tf.config.list_physical_devices("GPU")

    def devices(self):
        return [
            self.tf.config.experimental.get_device_details(gpu).get(
                "device_name", gpu.name
            )
            for gpu in self.gpus
        ]

    def _compile(self, model, function):
        function = self.tf.function(
            function, jit_compile=model.jit_compile or None, autograph=False
        )

        def step(*args):
            result = function(*args)
            if self.gpus:
                self.tf.test.experimental.sync_devices()
            return result

        return function, step

    def predict(self, model, inputs):
        _, step = self._compile(model, model.predict_step)
        return functools.partial(step, (inputs,))

    def train(self, model, inputs, labels):
        function, step = self._compile(model, model.train_step)
        function.get_concrete_function((inputs, labels))
        return functools.partial(step, (inputs, labels))

    def gradient(self, model, inputs, labels):
        def function(inputs, labels):
            weights = [v.value for v in model.trainable_variables]
            with self.tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = mean_loss(labels, model(inputs, training=True))
            return tape.gradient(loss, [weights, inputs])

        _, step = self._compile(model, function)
        return functools.partial(step, inputs, labels)

    def operations(self, model):
        """Operations by type, of the graph for one image.

        The profiler counts convolutions, matrix products, poolings, sums and
        simple arithmetic, but no `Einsum` (which is added here), and neither
        batch normalisation nor activations but softmax. It silently counts
        zero for shapes it does not know: that is checked.
        """
        tf = self.tf
        specs = [
            tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype)
            for tensor in model.inputs
        ]

        function = tf.function(
            lambda *inputs: model(_one_or_list(inputs), training=False),
            autograph=False,
        )
        graph = function.get_concrete_function(*specs).graph
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        with tf.Graph().as_default():
            profile = tf.compat.v1.profiler.profile(
                graph, cmd="op", options=options
            )
        counts = dict(_profiled(profile))
        for operation in graph.get_operations():
            if operation.type in self.products:
                self._check_shapes(operation)
            if operation.type == "Einsum":
                count = self._einsum_operations(operation)
                counts["Einsum"] = counts.get("Einsum", 0) + count
        return {name: count for name, count in counts.items() if count}

    def _check_shapes(self, operation):
        tensors = [*operation.inputs, *operation.outputs]
        if not all(tensor.shape.is_fully_defined() for tensor in tensors):
            raise RuntimeError(
                "Operations cannot be counted: unknown shapes of "
                f"{operation.type} {operation.name!r}."
            )

    def _einsum_operations(self, operation):
        """Two for each combination of the indices of an einsum."""
        equation = operation.get_attr("equation").decode()
        if "." in equation:
            raise RuntimeError(
                f"Operations of the einsum {equation!r} cannot be counted."
            )
        sizes = {}
        terms = equation.split("->")[0].split(",")
        for term, tensor in zip(terms, operation.inputs, strict=True):
            sizes.update(zip(term, tensor.shape, strict=True))
        return 2 * int(np.prod(list(sizes.values()), dtype="int64"))

    def memory(self):
        if not self.gpus:
            return host_memory()
        read = functools.partial(
            self.tf.config.experimental.get_memory_info, "GPU:0"
        )
        return Memory(
            in_use=lambda: read()["current"],
            peak=lambda: read()["peak"],
            reset_peak=lambda: self.tf.config.experimental.reset_memory_stats(
                "GPU:0"
            ),
        )


def _profiled(node):
    """Operation types and their counts, in the profiler's nested answer."""
    for child in node.children:
        yield child.name, child.float_ops
        yield from _profiled(child)


class Jax:
    """JAX: `jax.jit` with donated state, as `fit` and `predict` compile."""

    counter = "jax.jit(...).lower(...).cost_analysis()"

    def __init__(self):
        import jax

        self.jax = jax

    def devices(self):
        return [
            device.device_kind
            for device in self.jax.devices()
            if device.platform != "cpu"
        ]

    def _state(self, model):
        """Weights as arrays, copied: the models share those of the backbone,
        and a training step gives its arrays away.
        """
        state = [
            [v.value for v in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
            )
        ]
        return self.jax.tree.map(self.jax.numpy.copy, state)

    def predict(self, model, inputs):
        state = self._state(model)
        step = self.jax.jit(model.predict_step)
        return lambda: self.jax.block_until_ready(step(state, (inputs,))[0])

    def train(self, model, inputs, labels):
        state = [
            *self._state(model),
            [self.jax.numpy.copy(v.value) for v in model.optimizer.variables],
            [self.jax.numpy.copy(v.value) for v in model.metrics_variables],
        ]
        state, data = tuple(state), (inputs, labels)
        step = self.jax.jit(model.train_step, donate_argnums=0)
        step = step.lower(state, data).compile()

        def run():
            nonlocal state
            logs, state = step(state, data)
            self.jax.block_until_ready(state)

        return run

    def gradient(self, model, inputs, labels):
        weights, others = self._state(model)

        def loss(weights, inputs, labels):
            outputs, _ = model.stateless_call(
                weights, others, inputs, training=True
            )
            return mean_loss(labels, outputs)

        step = self.jax.jit(self.jax.grad(loss, argnums=(0, 1)))
        return lambda: self.jax.block_until_ready(
            step(weights, inputs, labels)
        )

    def operations(self, model):
        """Operations for one image, of the program before optimisation.

        XLA's own count: all arithmetic but transcendental functions, and of
        convolutions only the products inside the borders, so fewer than the
        other backends count where there is padding.
        """
        inputs = [
            self.jax.ShapeDtypeStruct((1, *tensor.shape[1:]), tensor.dtype)
            for tensor in model.inputs
        ]

        def function(state, inputs):
            outputs, _ = model.stateless_call(*state, inputs, training=False)
            return outputs

        lowered = self.jax.jit(function).lower(
            self._state(model), _one_or_list(inputs)
        )
        return {"all": int(lowered.cost_analysis()["flops"])}

    def memory(self):
        device = self.jax.devices()[0]
        if device.platform == "cpu":
            return host_memory()
        return Memory(
            in_use=lambda: device.memory_stats()["bytes_in_use"],
            peak=lambda: device.memory_stats()["peak_bytes_in_use"],
            # It cannot be set back, and need not be: the process is fresh,
            # and nothing before the first step takes as much.
            reset_peak=lambda: None,
        )


class Torch:
    """PyTorch: eager, as `fit` and `predict` run by default."""

    counter = "torch.utils.flop_counter.FlopCounterMode"

    def __init__(self):
        import torch

        self.torch = torch
        self.gpu = torch.cuda.is_available()

    def devices(self):
        return [
            self.torch.cuda.get_device_name(i)
            for i in range(self.torch.cuda.device_count())
        ]

    def _finish(self):
        if self.gpu:
            self.torch.cuda.synchronize()

    def predict(self, model, inputs):
        def step():
            with self.torch.no_grad():
                model.predict_step((inputs,))
            self._finish()

        return step

    def train(self, model, inputs, labels):
        def step():
            model.train_step((inputs, labels))
            self._finish()

        return step

    def gradient(self, model, inputs, labels):
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        weights = [v.value for v in model.trainable_variables]

        def step():
            loss = mean_loss(labels, model(inputs, training=True))
            self.torch.autograd.grad(loss, [*weights, *inputs])
            self._finish()

        return step

    def operations(self, model):
        """Operations by type, for one image.

        Convolutions and matrix products, `einsum` among them; nothing else.
        """
        from torch.utils.flop_counter import FlopCounterMode

        inputs, _ = random_batch(model, 1)
        counter = FlopCounterMode(display=False)
        with self.torch.no_grad(), counter:
            model(inputs, training=False)
        counts = counter.get_flop_counts()["Global"]
        return {str(name): int(count) for name, count in counts.items()}

    def memory(self):
        if not self.gpu:
            return host_memory()
        return Memory(
            in_use=self.torch.cuda.memory_allocated,
            peak=self.torch.cuda.max_memory_allocated,
            reset_peak=self.torch.cuda.reset_peak_memory_stats,
        )


BACKENDS = {"tensorflow": TensorFlow, "jax": Jax, "torch": Torch}


@functools.cache
def backend():
    """The backend in use, as the measurements need it."""
    return BACKENDS[keras.backend.backend()]()


# --- Measuring ---------------------------------------------------------------


def take_turns(steps, rounds, title):
    """Seconds of each of `steps`, `rounds` times, one after the other.

    Args:
        steps: Functions without arguments, by name.
        rounds: Positive integer.
        title: What the progress bar is headed by.
    """
    print(title, file=sys.stderr)
    for _ in range(WARM_UP_STEPS):
        for step in steps.values():
            step()
    gc.collect()
    samples = {name: [] for name in steps}
    progress = keras.utils.Progbar(rounds)
    for finished in range(1, rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            samples[name].append(time.perf_counter() - start)
        progress.update(finished)
    return samples


def measured(samples, unit, paired):
    """Samples of one quantity, with medians, quartiles and ratios.

    Args:
        samples: Lists of numbers, by model.
        unit: String.
        paired: Whether entries of the same index were taken in the same round.
    """
    result = {
        "unit": unit,
        "median": {k: statistics.median(v) for k, v in samples.items()},
        "quartiles": {k: quartiles(v) for k, v in samples.items()},
        "ratio": {},
        "ratio_quartiles": {},
        "samples": samples,
    }
    for name, base in (("ours", "backbone"), ("direct", "ours"),
                       ("direct", "backbone")):
        if name not in samples or base not in samples:
            continue
        key = f"{name} / {base}"
        if paired:
            pairs = zip(samples[name], samples[base], strict=True)
            ratios = [a / b for a, b in pairs]
            result["ratio"][key] = statistics.median(ratios)
            result["ratio_quartiles"][key] = quartiles(ratios)
        else:
            medians = result["median"]
            result["ratio"][key] = medians[name] / medians[base]
    return result


def quartiles(values):
    return [float(value) for value in np.percentile(values, (25, 75))]


def counted(counts, unit):
    """A quantity that is counted, not measured: one sample, no spread."""
    return measured({k: [v] for k, v in counts.items()}, unit, paired=False)


def measure_operations(models, title):
    details = {k: backend().operations(m) for k, m in models.items()}
    giga = {k: sum(counts.values()) / 1e9 for k, counts in details.items()}
    return {**counted(giga, "GFLOP"), "title": title, "details": details}


def measure_time(steps, rounds, title):
    samples = take_turns(steps, rounds, title)
    samples = {k: [1e3 * s for s in v] for k, v in samples.items()}
    return {**measured(samples, "ms", paired=True), "title": title}


def step_memory(model, batch_size):
    """Bytes that training steps of `model` need beyond what was in use.

    Counted from after the model, the batch and the optimizer were made and the
    step was traced or compiled, to the peak over a few steps: activations,
    gradients and work space, with what the framework's allocator keeps.
    """
    compile_model(model)
    step = backend().train(model, *random_batch(model, batch_size))
    memory = backend().memory()
    gc.collect()
    memory.reset_peak()
    before = memory.in_use()
    for _ in range(MEMORY_STEPS):
        step()
    return memory.peak() - before


def measure_memory(settings, kernel_size, names):
    """`step_memory` of each model, each time in a fresh process.

    A process's memory does not fall back to where it was, so only the first
    model of a process could be measured.
    """
    title = f"Memory of a training step, {kernel_size}x{kernel_size}"
    print(title, file=sys.stderr)
    samples = {name: [] for name in names}
    progress = keras.utils.Progbar(settings.memory_runs * len(names))
    for _ in range(settings.memory_runs):
        for name in names:
            samples[name].append(
                _memory_of(settings, kernel_size, name) / 2**20
            )
            progress.add(1)
    return {**measured(samples, "MiB", paired=False), "title": title}


def _memory_of(settings, kernel_size, name):
    arguments = {
        "--backbone": settings.backbone,
        "--depth": settings.depth,
        "--width": settings.width,
        "--classes": settings.classes,
        "--kernel-size": kernel_size,
        "--batch-size": settings.batch_size,
        "--image-size": settings.image_size,
        "--projection": settings.projection,
        "--memory-of": name,
    }
    command = [sys.executable, str(pathlib.Path(__file__).resolve())]
    for option, value in arguments.items():
        if value is not None:
            command += [option, str(value)]
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
    )
    if process.returncode:
        raise RuntimeError(
            f"Memory of model {name!r} could not be measured: its process "
            f"ended with code {process.returncode}:\n{process.stderr}"
        )
    # Frameworks print what they like before; the last line is ours.
    return json.loads(process.stdout.splitlines()[-1])["bytes"]


def measure_modules(settings, kernel_size):
    """Times of the attention alone, for each number of classes.

    The gradients of the direct formulation are left out: with 1,000 classes
    its maps alone take gigabytes, and the training step says as much.
    """
    measures = {}
    for classes in settings.class_counts:
        keras.backend.clear_session()
        models = attention_alone(
            build(settings, kernel_size, classes, settings.direct)
        )
        for model in models.values():
            model.compile()
        ours = models["ours"]
        inputs, labels = random_batch(ours, settings.batch_size)
        name = f"modules, {classes} classes"
        measures[f"modules_inference_{classes}"] = measure_time(
            {k: backend().predict(m, inputs) for k, m in models.items()},
            settings.runs,
            f"{name}, inference",
        )
        measures[f"modules_gradient_{classes}"] = measure_time(
            {"ours": backend().gradient(ours, inputs, labels)},
            settings.runs,
            f"{name}, forward and backward",
        )
    return measures


def measure(settings, kernel_size):
    """Everything, for one kernel size: measures by name."""
    measures = {}
    names = MODELS if settings.direct else MODELS[:2]
    # First: on a GPU this process would leave no memory to the others.
    if settings.memory:
        measures["memory"] = measure_memory(settings, kernel_size, names)
    return measures
