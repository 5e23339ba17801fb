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
    # A layer of its own: one called twice has no single input to read.
    combine = keras_warn.GatedSum.from_config(
        {**rectified.get_config(), "name": "direct_rectified"}
    )
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


def attention_inputs(ours):
    """What the attention reads.

    The feature maps, the pooled features for the global gates, and the
    network's own logits.
    """
    layers = {layer.name: layer for layer in ours.layers}
    inputs = []
    for i in modules(ours):
        first = layers.get(f"module_{i}_projection")
        inputs.append((first or layers[f"module_{i}_masks"]).input)
    inputs.append(layers["global_gates"].input)
    inputs.append(keras.tree.flatten(layers["rectified"].input)[1])
    return inputs


def attention_alone(models):
    """The attention of `models` as models of their own."""
    inputs = attention_inputs(models["ours"])
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
        return lambda: self.jax.block_until_ready(step(weights, inputs, labels))

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
    for name, base in (
        ("ours", "backbone"),
        ("direct", "ours"),
        ("direct", "backbone"),
    ):
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


def measure_time(steps, rounds, title, heading):
    samples = take_turns(steps, rounds, heading)
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
    if memory is None:
        raise RuntimeError(
            "Memory can be measured on Linux and on GPUs. Use --skip-memory."
        )
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
    title = f"training step memory, batch of {settings.batch_size}"
    print(f"{title}, {kernel_size}x{kernel_size}", file=sys.stderr)
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
    size = f"{kernel_size}x{kernel_size}"
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
            f"{name}, inference, {size}",
        )
        measures[f"modules_gradient_{classes}"] = measure_time(
            {"ours": backend().gradient(ours, inputs, labels)},
            settings.runs,
            f"{name}, forward and backward",
            f"{name}, forward and backward, {size}",
        )
    return measures


def measure(settings, kernel_size):
    """Everything but memory, for one kernel size: measures by name."""
    keras.backend.clear_session()
    models = build(settings, kernel_size, settings.classes, settings.direct)
    images, labels = random_batch(models["ours"], settings.batch_size)
    measures = {}
    if settings.direct:
        found = difference(models["ours"], models["direct"], images)
        if not found <= TOLERANCE:
            raise RuntimeError(
                "The direct formulation must compute what ours does, to "
                f"{TOLERANCE:g}. Received: a difference of {found:g}."
            )
        measures["difference"] = found
    counts = {k: m.count_params() / 1e6 for k, m in models.items()}
    measures["parameters"] = {
        **counted(counts, "million"),
        "title": "parameters",
    }
    measures["operations"] = measure_operations(models, "operations")
    measures["modules_operations"] = measure_operations(
        attention_alone(models), f"modules, {settings.classes} classes"
    )
    for model in models.values():
        compile_model(model)
    size = f"{kernel_size}x{kernel_size}"
    batch = f"batch of {settings.batch_size}"
    for key, title, steps in (
        (
            "inference",
            f"inference, {batch}",
            lambda m: backend().predict(m, images),
        ),
        (
            "training",
            f"training step, {batch}",
            lambda m: backend().train(m, images, labels),
        ),
    ):
        measures[key] = measure_time(
            {k: steps(m) for k, m in models.items()},
            settings.runs,
            title,
            f"{title}, {size}",
        )
    return {**measures, **measure_modules(settings, kernel_size)}


# --- Reporting ---------------------------------------------------------------

HEADER = (
    "measure",
    "backbone",
    "ours",
    "ours / backbone",
    "direct",
    "direct / ours",
)


def table(measures):
    """The measures of one kernel size as lines of a Markdown table."""
    rows = [HEADER, ("---",) + ("---:",) * (len(HEADER) - 1)]
    for values in measures.values():
        if not isinstance(values, dict):
            continue
        rows.append(
            (
                f"{values['title']} ({values['unit']})",
                _median(values, "backbone"),
                _median(values, "ours"),
                _ratio(values, "ours / backbone"),
                _median(values, "direct"),
                _ratio(values, "direct / ours"),
            )
        )
    return ["| " + " | ".join(row) + " |" for row in rows]


def _median(values, name):
    if name not in values["median"]:
        return "–"
    text = _number(values["median"][name])
    low, high = values["quartiles"][name]
    if low == high:
        return text
    return f"{text} ({_number(low)}–{_number(high)})"


def _ratio(values, name):
    if name not in values["ratio"]:
        return "–"
    text = f"{values['ratio'][name]:.3f}"
    if name not in values["ratio_quartiles"]:
        return text
    low, high = values["ratio_quartiles"][name]
    return f"{text} ({low:.3f}–{high:.3f})"


def _number(value):
    """Four digits, and never an exponent."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{float(f'{value:.4g}'):g}"


def report(result):
    """The whole result as Markdown."""
    settings, machine = result["settings"], result["machine"]
    devices = ", ".join(machine["devices"]) or machine["cpu"]
    lines = [
        f"# {settings['backbone']} at {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads",
        "",
        f"`{result['command']}`",
        "",
        f"{machine['backend']} on {devices}, {machine['cores']} cores, "
        f"{result['date']}. Medians, in brackets quartiles. A ratio of times "
        "is the median of the ratios within each round.",
        f"Operations: {result['counter']}.",
    ]
    for size, measures in result["kernel_sizes"].items():
        lines += ["", f"## Kernels of {size}x{size}", "", *table(measures)]
        if "difference" in measures:
            lines += [
                "",
                "Largest difference between ours and direct: "
                f"{measures['difference']:.1e} of the largest output.",
            ]
    return "\n".join(lines) + "\n"


# Okabe and Ito's palette, told apart by the colour-blind too.
COLOURS = {"ours": "#0072B2", "direct": "#E69F00"}


def plot(result, path):
    """Ratios to the backbone, and times of the modules, for each kernel."""
    from matplotlib.figure import Figure

    sizes = result["kernel_sizes"]
    figure = Figure(figsize=(11, 3.6 * len(sizes)), layout="constrained")
    axes = figure.subplots(len(sizes), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), (size, measures) in zip(
        axes, sizes.items(), strict=True
    ):
        kernel = f"{size}×{size} kernels"
        _plot_ratios(left, measures)
        left.set_title(f"{kernel}: relative to the backbone")
        _plot_modules(right, measures, result["settings"]["class_counts"])
        right.set_title(f"{kernel}: modules alone, inference")
    settings, machine = result["settings"], result["machine"]
    figure.suptitle(
        f"{settings['backbone']}, {settings['image_size']} px, "
        f"{settings['classes']} classes, {settings['depth']} modules of "
        f"{settings['width']} heads, batch {settings['batch_size']} "
        f"({machine['backend']})"
    )
    figure.savefig(path, dpi=150)


def _plot_ratios(axes, measures):
    groups = {
        "parameters": "parameters",
        "operations": "operations",
        "inference": "inference\ntime",
        "training": "training\nstep time",
        "memory": "training\nmemory",
    }
    names = [name for name in groups if name in measures]
    bars = {
        model: [
            measures[name]["ratio"].get(f"{model} / backbone") for name in names
        ]
        for model in COLOURS
    }
    _plot_bars(axes, [groups[name] for name in names], bars, "×{:.2f}")
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylabel("ratio (backbone = 1)")


def _plot_modules(axes, measures, class_counts):
    medians = [
        measures[f"modules_inference_{n}"]["median"] for n in class_counts
    ]
    bars = {m: [median.get(m) for median in medians] for m in COLOURS}
    labels = [f"{n:,} classes" for n in class_counts]
    _plot_bars(axes, labels, bars, "{:,.0f}")
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.5)
    axes.set_ylabel("ms per batch, log scale")


def _plot_bars(axes, labels, bars, form):
    """Groups of bars, one colour a model; models without values left out."""
    bars = {name: v for name, v in bars.items() if None not in v}
    width = 0.8 / len(bars)
    for i, (name, values) in enumerate(bars.items()):
        places = np.arange(len(labels)) + (i - (len(bars) - 1) / 2) * width
        drawn = axes.bar(places, values, width, color=COLOURS[name], label=name)
        texts = [form.format(value) for value in values]
        axes.bar_label(drawn, texts, fontsize=8)
    axes.set_xticks(range(len(labels)), labels)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.legend(frameon=False)


def machine():
    """What the numbers were measured on."""
    versions = {"python": platform.python_version()}
    for name in ("keras", "keras-warn", "numpy", "jax", "jaxlib", "torch"):
        versions[name] = _version(name)
    # One module, several distributions that own it.
    versions["tensorflow"] = _version("tensorflow") or _version(
        "tensorflow-cpu"
    )
    return {
        "backend": keras.backend.backend(),
        "devices": backend().devices(),
        "cpu": _cpu(),
        "cores": _cores(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "os": platform.platform(),
        "versions": {k: v for k, v in versions.items() if v},
    }


def _version(distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cores():
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cpu():
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


# --- Command line ------------------------------------------------------------


def integer(minimum):
    """An argument type: integers of at least `minimum`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < minimum:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {minimum}. Received: {text}"
            )
        return value

    return parse


def kernel_size(text):
    value = integer(1)(text)
    if value % 2 == 0:
        raise argparse.ArgumentTypeError(
            f"must be odd, so that the kernel has a centre. Received: {text}"
        )
    return value


def backbone(text):
    known = constructors()
    if text not in known:
        lower = {name.lower(): name for name in known}
        near = difflib.get_close_matches(text.lower(), lower, n=3, cutoff=0.5)
        hint = ", ".join(lower[name] for name in near) or ", ".join(known)
        raise argparse.ArgumentTypeError(
            "must be a constructor of keras.applications. "
            f"Received: {text}. Did you mean: {hint}?"
        )
    return text


def parser():
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--backbone", type=backbone, default="ResNet50V2")
    add("--depth", type=integer(1), default=4, help="attention modules")
    add("--width", type=integer(1), default=4, help="heads of a module")
    add("--classes", type=integer(2), default=200)
    add("--kernel-size", type=kernel_size, nargs="+", default=[1, 3])
    add("--projection", type=integer(1), help="channels, none by default")
    add("--batch-size", type=integer(1), default=8)
    add("--image-size", type=integer(1), default=224)
    add(
        "--class-counts",
        type=integer(2),
        nargs="+",
        default=[10, 1000],
        help="classes for which the modules are timed alone",
    )
    add("--runs", type=integer(1), default=20, help="rounds of timing")
    add("--memory-runs", type=integer(1), default=3, help="processes a model")
    add("--skip-direct", dest="direct", action="store_false")
    add("--skip-memory", dest="memory", action="store_false")
    add("--out", type=pathlib.Path, default=pathlib.Path("runs/overhead"))
    add("--overwrite", action="store_true", help="replace an earlier result")
    add("--memory-of", choices=MODELS, help=argparse.SUPPRESS)
    return result


def check(settings, error):
    """What arguments cannot be checked for one by one. `error` ends."""
    if keras.backend.backend() not in BACKENDS:
        error(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. "
            f"Received: {keras.backend.backend()}"
        )
    if keras.config.image_data_format() != "channels_last":
        error("image_data_format must be channels_last, in keras.json")
    for name in ("kernel_size", "class_counts"):
        values = getattr(settings, name)
        if len(set(values)) < len(values):
            option = name.replace("_", "-")
            error(f"--{option} must not repeat values. Received: {values}")
    if settings.memory_of:
        return
    present = [name for name in FILES if (settings.out / name).exists()]
    if present and not settings.overwrite:
        error(
            f"--out must hold no earlier result without --overwrite. "
            f"Received: {settings.out}, with {', '.join(present)}"
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        error("matplotlib is needed for the plot: pip install matplotlib")


def run(settings, command):
    """Measures, and returns the whole result."""
    sizes = settings.kernel_size
    names = MODELS if settings.direct else MODELS[:2]
    # Memory first: on a GPU, once this process uses it, it leaves no memory
    # to other processes.
    memory = {}
    if settings.memory:
        memory = {k: measure_memory(settings, k, names) for k in sizes}
    at_start = machine()
    measures = {k: measure(settings, k) for k in sizes}
    for k, values in memory.items():
        measures[k]["memory"] = values
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes"),
        "machine": at_start,
        "settings": {**vars(settings), "out": str(settings.out)},
        "counter": backend().counter,
        "kernel_sizes": measures,
    }


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = parser()
    settings = commands.parse_args(arguments)
    check(settings, commands.error)
    if settings.memory_of:
        names = settings.memory_of == "direct"
        models = build(
            settings, settings.kernel_size[0], settings.classes, names
        )
        used = step_memory(models[settings.memory_of], settings.batch_size)
        print("\n" + json.dumps({"bytes": used}))
        return
    command = shlex.join(["python", "benchmarks/overhead.py", *arguments])
    if "KERAS_BACKEND" in os.environ:
        command = f"KERAS_BACKEND={os.environ['KERAS_BACKEND']} {command}"
    result = run(settings, command)
    settings.out.mkdir(parents=True, exist_ok=True)
    files = [settings.out / name for name in FILES]
    files[0].write_text(json.dumps(result, indent=1) + "\n")
    files[1].write_text(report(result))
    plot(result, files[2])
    print("\n" + report(result))
    print("Written: " + ", ".join(str(file) for file in files))


if __name__ == "__main__":
    main()
