"""Learning rates by layer, against rates that were set apart."""

import re
from pathlib import Path

import fresh
import keras
import numpy as np
import pytest
from keras import layers
from keras import optimizers
from support import TENSORFLOW
from support import assert_all_close
from support import assert_all_equal
from support import needs_tensorflow
from support import prepared
from support import reads_saved_files
from support import to_numpy

import keras_warn
from keras_warn.optimizers import MultiRateOptimizer
from keras_warn.optimizers import attention_factors

# How to compile what trains for a few steps: tracing takes longer.
QUICK = {"run_eagerly": TENSORFLOW}
# Its products with 10 and 0.5 are exact, as those of 0.1 are not.
RATE = 2.0**-6
FACTORS = {"fast/.*": 10.0, "slow/.*": 0.5}


def drop(factor=1.0):
    """A learning rate that drops after two steps, times `factor`."""
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [factor * RATE, factor * RATE / 8]
    )


def network():
    """A little network of three dense layers."""
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(7, activation="tanh", name="slow"),
            layers.Dense(
                3,
                activation="tanh",
                kernel_constraint=keras.constraints.MaxNorm(0.9),
                name="plain",
            ),
            layers.Dense(2, name="fast"),
        ]
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 5)).astype("float32")
    return x, rng.normal(size=(24, 2)).astype("float32")


def values(model):
    return [to_numpy(variable) for variable in model.weights]


def moved(optimizer, gradients, variables=None):
    """Where variables are after steps with `gradients`."""
    variables = three_variables() if variables is None else variables
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step])
    optimizer.finalize_variable_values(variables)
    return [to_numpy(variable) for variable in variables]


def three_variables():
    found = []
    for name in ("slow", "plain", "fast"):
        with keras.name_scope(name):
            value = np.linspace(-1, 2, 11, dtype="float32")
            found.append(keras.Variable(value, name="kernel"))
    return found


def steps(count=4):
    """Gradients of three variables, for `count` steps."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 3, 11)).astype("float32")


def trained_apart(make, gradients):
    """Each variable trained by an optimizer of its own, with its own rate."""
    return [
        moved(make(f), gradients[:, i : i + 1], three_variables()[i : i + 1])[0]
        for i, f in enumerate((0.5, 1.0, 10.0))
    ]


OPTIMIZERS = {
    "sgd": lambda f: optimizers.SGD(f * RATE),
    "nesterov": lambda f: optimizers.SGD(
        f * RATE, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "adam_schedule": lambda f: optimizers.Adam(drop(f)),
    "adamw": lambda f: optimizers.AdamW(f * RATE, weight_decay=0.5),
    "adamw_callable": lambda f: optimizers.AdamW(lambda: f * RATE),
    "adamw_clipnorm": lambda f: optimizers.AdamW(f * RATE, clipnorm=0.5),
    "adamw_ema_schedule": lambda f: optimizers.AdamW(
        drop(f), weight_decay=0.5, use_ema=True
    ),
    "sgd_ema_overwritten": lambda f: optimizers.SGD(
        f * RATE, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "sgd_accumulated": lambda f: optimizers.SGD(
        drop(f), momentum=0.9, clipvalue=0.3, gradient_accumulation_steps=3
    ),
    "lion": lambda f: optimizers.Lion(f * RATE, weight_decay=0.1),
    "adafactor": lambda f: optimizers.Adafactor(f * RATE),
    "schedule_free": lambda f: optimizers.ScheduleFreeAdamW(f * RATE),
    "loss_scale_factor": lambda f: optimizers.AdamW(
        f * RATE, loss_scale_factor=8.0
    ),
}


@pytest.mark.filterwarnings("ignore:.*includes a `lambda`")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_as_if_trained_apart(name):
    """To the bit."""
    make = OPTIMIZERS[name]
    together = moved(MultiRateOptimizer(make(1.0), FACTORS), steps())
    assert_all_equal(together, trained_apart(make, steps()))


@pytest.mark.parametrize(
    ("limit", "loss_scale_factor"), [(2.0, None), (2.0, 4.0), (1000.0, None)]
)
def test_global_clipnorm_is_over_all_variables(limit, loss_scale_factor):
    """And leaves gradients that are shorter."""
    optimizer = optimizers.SGD(
        RATE, global_clipnorm=limit, loss_scale_factor=loss_scale_factor
    )
    scaled = steps() * (loss_scale_factor or 1)
    found = moved(MultiRateOptimizer(optimizer, FACTORS), scaled)
    for i, factor in enumerate((0.5, 1.0, 10.0)):
        w = np.linspace(-1, 2, 11)
        for step in steps().astype("float64"):
            clipped = step[i] * min(1, limit / np.linalg.norm(step))
            w = w - factor * RATE * clipped
        np.testing.assert_allclose(found[i], w, rtol=1e-6, atol=1e-6)


def test_factor_zero_freezes():
    """In spite of weight decay and averages; it needs no state either."""

    def adamw():
        return optimizers.AdamW(
            RATE, weight_decay=0.5, use_ema=True, global_clipnorm=2.0
        )

    optimizer = MultiRateOptimizer(adamw(), {"fast/.*": 0})
    found = moved(optimizer, steps())
    start = np.linspace(-1, 2, 11, dtype="float32")
    np.testing.assert_array_equal(found[2], start)
    assert not any("fast" in variable.name for variable in optimizer.variables)
    # The others are trained as if it had no gradient.
    expected = moved(adamw(), steps()[:, :2], three_variables()[:2])
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)


def test_no_variable_of_factor_one():
    """The schedule goes on without one."""
    optimizer = MultiRateOptimizer(optimizers.AdamW(drop()), {".*": 10.0})
    found = moved(optimizer, steps())
    expected = moved(optimizers.AdamW(drop(10.0)), steps())
    np.testing.assert_array_equal(found, expected)
    assert int(optimizer.iterations) == len(steps())


def test_memory_of_one_optimizer():
    sizes = []
    for wrap in (lambda one: one, lambda one: MultiRateOptimizer(one, FACTORS)):
        optimizer = wrap(optimizers.AdamW(RATE, use_ema=True))
        optimizer.build(three_variables())
        states = [v for v in optimizer.variables if len(v.shape)]
        sizes.append(sum(to_numpy(v).size for v in states))
    assert sizes[0] == sizes[1]


def test_steps_are_counted_with_accumulation():
    optimizer = MultiRateOptimizer(
        optimizers.SGD(RATE, gradient_accumulation_steps=3), FACTORS
    )
    moved(optimizer, steps(7))
    assert int(optimizer.iterations) == 2


def test_without_weight_decay_where_excluded():
    def make(decay):
        return MultiRateOptimizer(
            optimizers.SGD(RATE, weight_decay=decay), {"(fast|plain)/.*": 10.0}
        )

    optimizer, variables = make(0.5), three_variables()
    optimizer.exclude_from_weight_decay(var_list=variables[2:])
    found = moved(optimizer, steps(), variables)
    decayed, not_decayed = (moved(make(d), steps()) for d in (0.5, None))
    assert_all_equal(found, [*decayed[:2], not_decayed[2]])


def test_gradients_in_pairs():
    """As custom training loops apply them; some leave variables out."""
    optimizer = MultiRateOptimizer(optimizers.SGD(RATE), {"fast/.*": 10.0})
    variables = three_variables()
    optimizer.build(variables)
    gradient = keras.ops.ones((11,))
    pairs = [(gradient, variables[2]), (gradient, variables[0])]
    assert to_numpy(optimizer.apply_gradients(pairs)) == 1
    start = np.linspace(-1, 2, 11, dtype="float32")
    for variable, factor in zip(variables, (1, 0, 10), strict=True):
        expected = start - factor * np.float32(RATE)
        np.testing.assert_array_equal(to_numpy(variable), expected)


def test_loss_scale_factor_can_be_set():
    """As a `LossScaleOptimizer` takes it away."""
    optimizer = MultiRateOptimizer(
        optimizers.SGD(RATE, loss_scale_factor=8.0), FACTORS
    )
    optimizer.loss_scale_factor = None
    again = MultiRateOptimizer.from_config(optimizer.get_config())
    expected = trained_apart(OPTIMIZERS["sgd"], steps())
    np.testing.assert_array_equal(moved(optimizer, steps()), expected)
    np.testing.assert_array_equal(moved(again, steps()), expected)


# In `fit`, against Keras's own optimizer of optimizers, whose rates are apart.


def keras_own(make):
    if not hasattr(optimizers, "MultiOptimizer"):
        pytest.skip("compares with what Keras has from 3.15 on")
    return optimizers.MultiOptimizer(
        optimizers.OptimizerMap(
            make(1.0), {".*fast/.*": make(10.0), ".*slow/.*": make(0.5)}
        )
    )


def fitted(optimizer, **options):
    """The weights after training the same network on the same data."""
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(optimizer, "mse", **options)
    x, y = data()
    prepared(model).fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return values(model)


@pytest.mark.parametrize(
    ("name", "jit_compile", "policy"),
    [
        ("adamw_ema_schedule", True, "float32"),
        # `compile` puts the scaling of the loss around it.
        ("sgd_accumulated", False, "mixed_float16"),
    ],
)
def test_fit(name, jit_compile, policy):
    keras.config.set_dtype_policy(policy)
    options = {
        "jit_compile": jit_compile and keras.backend.backend() != "torch"
    }
    make = OPTIMIZERS[name]
    found = fitted(MultiRateOptimizer(make(1.0), FACTORS), **options)
    # In half precision, graphs round otherwise than operations one by one.
    quick = QUICK if policy == "float32" else options
    expected = fitted(keras_own(make), **quick)
    assert_all_close(found, expected, rtol=1e-6, atol=1e-7)


def test_step_is_skipped_where_a_scaled_gradient_overflows():
    inner = MultiRateOptimizer(
        optimizers.Adam(RATE, beta_2=0.5, epsilon=1e-12), FACTORS
    )
    optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=16.0)
    model = network()
    model.compile(optimizer, "mse")
    start = values(model)
    x, y = data()
    y[0] = np.inf
    prepared(model).fit(x, y, batch_size=24, verbose=0)
    assert_all_equal(values(model), start)
    assert to_numpy(optimizer.dynamic_scale) == 8
    assert to_numpy(inner.iterations) == 0
    # The next step is the first, of the size of the rate in Adam.
    y[0] = 0
    model.fit(x, y, batch_size=24, verbose=0)
    assert to_numpy(inner.iterations) == 1
    step = np.abs(values(model)[-1] - start[-1])
    np.testing.assert_allclose(step, 10 * RATE, rtol=1e-5)


def test_the_learning_rate_sets_all_rates():
    """As `ReduceLROnPlateau` does; it is saved so."""
    make = OPTIMIZERS["nesterov"]
    optimizer = MultiRateOptimizer(make(1.0), FACTORS)
    optimizer.learning_rate = RATE / 8
    again = MultiRateOptimizer.from_config(optimizer.get_config())
    for one in (optimizer, again):
        assert float(to_numpy(one.learning_rate)) == RATE / 8
    expected = trained_apart(lambda factor: make(factor / 8), steps())
    assert_all_equal(moved(optimizer, steps()), expected)


# Saving.


def fit_twice(model, **options):
    x, y = data()
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    model.fit(x[:16], y[:16], epochs=2, **options)


@pytest.mark.parametrize(
    ("name", "suffix", "mixed"),
    [("adam_schedule", ".keras", True), ("nesterov", ".h5", False)],
)
def test_resumes_to_the_bit(name, suffix, mixed, tmp_path):
    if mixed:
        keras.config.set_dtype_policy("mixed_float16")
    file = tmp_path / f"half{suffix}"
    whole = network()
    optimizer = MultiRateOptimizer(OPTIMIZERS[name](1.0), FACTORS)
    # In `.h5`, Keras does not find the loss "mse" again.
    whole.compile(optimizer, keras.losses.MeanSquaredError(), **QUICK)
    fit_twice(whole, callbacks=[keras.callbacks.ModelCheckpoint(file)])
    fit_twice(whole)
    rest = keras.models.load_model(file)
    rest.run_eagerly = whole.run_eagerly
    fit_twice(rest)
    assert_all_equal(rest.weights, whole.weights)
    assert_all_equal(rest.optimizer.variables, whole.optimizer.variables)


def saved_in_h5(folder, wrap=lambda optimizer: optimizer):
    """A trained model, and what is read of its file."""
    model = network()
    optimizer = MultiRateOptimizer(OPTIMIZERS["adamw"](1.0), FACTORS)
    model.compile(wrap(optimizer), keras.losses.MeanSquaredError(), **QUICK)
    fit_twice(model)
    model.save(folder / "model.h5")
    return model, keras.models.load_model(folder / "model.h5")


def test_state_from_h5_is_not_lost_when_it_is_saved_again(tmp_path):
    model, loaded = saved_in_h5(tmp_path)
    with pytest.raises(ValueError, match="must be built"):
        loaded.save(tmp_path / "model.keras")
    loaded.optimizer.build(loaded.trainable_variables)
    loaded.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_all_equal(loaded.optimizer.variables, model.optimizer.variables)


def test_state_that_keras_does_not_read_is_missed(tmp_path):
    """Of an optimizer in a `LossScaleOptimizer`, in `.h5`."""
    _, loaded = saved_in_h5(tmp_path, keras.optimizers.LossScaleOptimizer)
    with pytest.warns(UserWarning, match="starts anew"):
        loaded.optimizer.build(loaded.trainable_variables)


@reads_saved_files
def test_file_of_0_1_resumes():
    """As the version that wrote it did."""
    saved = Path(__file__).parent / "saved"
    model = keras.models.load_model(saved / "0.1.0_rates.keras")
    model.run_eagerly = QUICK["run_eagerly"]
    fit_twice(model)
    with np.load(saved / "0.1.0_rates.npz") as expected:
        assert_all_close(values(model), expected.values(), atol=1e-6)


@pytest.mark.parametrize(
    # Keras has no configuration of a callable.
    "name",
    sorted(set(OPTIMIZERS) - {"adamw_callable"}),
)
def test_configuration(name):
    """Made anew from it, the same steps."""
    optimizer = MultiRateOptimizer(OPTIMIZERS[name](1.0), FACTORS, name="mine")
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert again.name == "mine"
    assert_all_equal(moved(again, steps()), moved(optimizer, steps()))


# Two replicas.

MIRRORED = """
import sys
sys.path.insert(0, {tests!r})
from support import assert_all_close, two_replicas
mirrored = two_replicas()
import tensorflow as tf
import test_optimizers as test
found = []
for strategy in (mirrored, tf.distribute.get_strategy()):
    with strategy.scope():
        optimizer = test.MultiRateOptimizer(
            test.OPTIMIZERS["adamw_ema_schedule"](1.0), test.FACTORS
        )
        scaled = test.optimizers.LossScaleOptimizer(optimizer)
        found.append(test.fitted(scaled, run_eagerly=strategy != mirrored))
    assert optimizer.iterations.numpy() == 9
assert_all_close(*found, rtol=1e-6, atol=1e-6)
"""


@needs_tensorflow
def test_two_replicas_as_one_device():
    fresh.run(MIRRORED.format(tests=str(Path(__file__).parent)))


# Which variables.


def backbone(classifier):
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, name="conv1")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(6, 3, strides=2, name="conv2")(x)
    if classifier == "dense":
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dense(5, activation="softmax", name="top")(x)
    elif classifier == "convolution":
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Conv2D(5, 1, name="top")(x)
        x = layers.Flatten()(x)
        x = layers.Softmax()(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("classifier", "options"),
    [
        ("convolution", {}),
        ("none", {"classes": 5}),
        ("dense", {"gates": "linear"}),
        ("dense", {"preset": "reference", "projection": 3}),
    ],
    ids=str,
)
def test_attention_and_classifier(classifier, options, tmp_path):
    """All that the network had not, and the end of what it had."""
    network = backbone(classifier)
    model = keras_warn.augment(network, width=2, **options)
    variables = {v.path for v in model.trainable_variables}
    old = {v.path for v in network.trainable_variables if "top" not in v.path}
    assert len(old) == 6 and old < variables
    factors = attention_factors(model, 4)
    ((pattern, factor),) = factors.items()
    assert factor == 4
    assert variables - old == {p for p in variables if re.fullmatch(pattern, p)}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert attention_factors(loaded, 4) == factors


def test_pattern_outlives_nested_models(tmp_path):
    """The name of the nested model is in the paths until they are saved."""
    nested = keras.Sequential(
        [
            layers.Conv2D(4, 3, strides=2, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax", name="top"),
        ],
        name="nested",
    )
    nested.build((None, 16, 16, 3))
    model = keras_warn.augment(nested, attend_at="conv")
    optimizer = MultiRateOptimizer(
        optimizers.AdamW(RATE), {**attention_factors(model), "conv/.*": 0.5}
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", **QUICK)
    images = np.ones((2, 16, 16, 3), "float32")
    model.fit(images, np.zeros(2), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert "nested/conv/kernel" in [v.path for v in model.weights]
    assert "conv/kernel" in [v.path for v in loaded.weights]
    # The state of each variable is where it was.
    assert_all_equal(loaded.optimizer.variables, optimizer.variables)


# Errors.


def adamw():
    return optimizers.AdamW(RATE)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"fats/kernel": 1}, "'fats/kernel', which matches none. Near: 'fast/"),
        # Names are matched as a whole.
        ({"fast/kern": 10}, "matches none"),
        (
            {"fa.*": 10, ".*st/.*": 2},
            "'fa..' and '..st/..', which both match 'fast/kernel'",
        ),
    ],
)
def test_patterns_that_do_not_fit(factors, message):
    optimizer = MultiRateOptimizer(adamw(), factors)
    with pytest.raises(ValueError, match=message):
        optimizer.build(three_variables())


def test_factor_out_of_range():
    with pytest.raises(ValueError, match=r"`factors\['fast'\]` must be finite"):
        MultiRateOptimizer(adamw(), {"fast": -1})
    with pytest.raises(ValueError, match="`factor` must be finite"):
        attention_factors(keras_warn.augment(backbone("dense")), -1)


def excluded():
    optimizer = adamw()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "adam", "a new Keras optimizer.*'adam'"),
        (lambda: optimizers.LossScaleOptimizer(adamw()), "goes around the"),
        (lambda: MultiRateOptimizer(adamw(), FACTORS), "one learning rate"),
        (lambda: keras_own(OPTIMIZERS["sgd"]), "one learning rate"),
        (lambda: MultiRateOptimizer(adamw(), {}).base_optimizer, "be a new"),
        (excluded, "on the MultiRateOptimizer"),
        (
            lambda: optimizers.SGD(
                global_clipnorm=1.0, gradient_accumulation_steps=2
            ),
            "both `global_clipnorm` and",
        ),
    ],
)
def test_wrong_optimizer(make, message):
    with pytest.raises(ValueError, match=message):
        MultiRateOptimizer(make(), FACTORS)


def test_no_gradient_for_a_factor():
    """Its optimizer would fall behind, and with it the averages."""
    optimizer = MultiRateOptimizer(adamw(), FACTORS)
    variables = three_variables()
    gradient = keras.ops.ones((11,))
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([gradient, gradient, None], variables)


def test_same_path_elsewhere():
    """Layers inside of others may be called as the classifier is."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.GlobalAveragePooling2D()(x)
    backbone = keras.Model(inputs, layers.Dense(5, name="query")(x))
    model = keras_warn.augment(backbone)
    with pytest.raises(ValueError, match="multi_head_attention.*/query/kernel"):
        attention_factors(model)
