"""Attention on whole networks."""

import functools
import warnings

import fresh
import keras
import numpy as np
import paper_networks
import pytest
from keras import layers
from keras import ops
from support import TENSORFLOW
from support import gradients
from support import prepared
from support import to_numpy
from support import without_weights

import keras_warn
from keras_warn.augmenting import PRESETS

CLASSES = 7
SIZE = 64
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 3))
IMAGES = IMAGES.astype("float32")

# The light ones among one member of each family, and what is special in it.
FAMILIES = {
    "MobileNet": {"alpha": 0.25},  # convolutional classifier
    "MobileNetV3Small": {},  # raw operations
    "WideResNet": {"depth": 10, "width": 1},  # pre-activation
}
SLOW_FAMILIES = {
    "ConvNeXtTiny": {},  # nested models, custom layers
    "DenseNet121": {},  # pre-activation
    "EfficientNetV2B0": {},  # rescaling inside
    "ResNet50": {},
    "ResNet50V2": {},
    "NASNetMobile": {},  # cells with two inputs
    "EfficientNetB0": {},
    "MobileNetV2": {"alpha": 0.35},
    "InceptionResNetV2": {},
    "InceptionV3": {},
    "VGG16": {},  # hidden dense layers
    "Xception": {},
}
if keras.backend.backend() == "torch":
    del SLOW_FAMILIES["NASNetMobile"]  # Keras cannot build it there.


def build(family, **options):
    """A network of `family` with random but lively weights."""
    module = paper_networks if family == "WideResNet" else keras.applications
    constructor = getattr(module, family)
    options = {**{**FAMILIES, **SLOW_FAMILIES}[family], **options}
    size = 75 if family.startswith("Inception") else SIZE
    if family == "Xception":
        size = 71
    if module is keras.applications:
        options.setdefault("weights", None)
    options.setdefault("classes", CLASSES)
    return constructor(input_shape=(size, size, 3), **options)


def images_for(model):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")


def small_backbone(top=True, size=32):
    """A little network of three resolutions."""
    inputs = keras.Input((size, size, 3), name="image")
    x = inputs
    for i, channels in enumerate((4, 6, 8), start=1):
        x = layers.Conv2D(
            channels, 3, padding="same", use_bias=False, name=f"conv{i}"
        )(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i < 3:
            x = layers.MaxPooling2D(name=f"pool{i}")(x)
    if top:
        x = layers.GlobalAveragePooling2D(name="average")(x)
        x = layers.Dense(CLASSES, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="small")


def parts(model):
    """The gates, and the logits of the network and of all modules."""
    return keras.tree.flatten(model.get_layer("rectified").input)


def with_gates_on_the_network(model, images):
    """The output of the model with all gates on the network's own."""
    gates, *predictions = keras.Model(model.input, parts(model))(images)
    gates = np.zeros(ops.shape(gates), "float32")
    gates[:, 0] = 1
    return to_numpy(model.get_layer("rectified")(gates, predictions))


each_family = pytest.mark.parametrize(
    "name",
    [
        *FAMILIES,
        *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_FAMILIES),
    ],
)


@pytest.fixture(scope="module")
def family():
    """Function from a family to a network of it, without and with attention."""

    @functools.cache
    def make(name):
        # Automatic names count from the start, as in a process of its own.
        keras.utils.clear_session(free_memory=False)
        backbone = build(name)
        return backbone, keras_warn.augment(backbone, depth=3, width=2)

    return make


@each_family
def test_own_prediction_to_the_bit(name, family):
    """All gates on the network's own output: its output, bit for bit."""
    backbone, model = family(name)
    images = images_for(backbone)
    np.testing.assert_array_equal(
        with_gates_on_the_network(model, images), to_numpy(backbone(images))
    )


RELOADING = """
import pathlib, sys, warnings
import keras, numpy as np
import keras_warn
warnings.simplefilter("error", UserWarning)
folder = pathlib.Path(sys.argv[1])
for path in folder.glob("*.keras"):
    model = keras.saving.load_model(path, safe_mode=True)
    images = np.load(folder / f"{path.stem}_images.npy")
    found = keras_warn.inspect(model)(images)["prediction"]
    found = keras.ops.convert_to_numpy(found)
    np.save(folder / f"{path.stem}_found.npy", found)
"""


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "names",
    [
        [*FAMILIES],
        *(pytest.param([n], marks=pytest.mark.slow) for n in SLOW_FAMILIES),
    ],
    ids="-".join,
)
def test_reloads_in_a_fresh_process(names, family, tmp_path):
    """In safe mode, without a warning."""
    here = {}
    for name in names:
        _, model = family(name)
        images = images_for(model)
        here[name] = to_numpy(model(images))
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}_images.npy", images)
    fresh.run(RELOADING, tmp_path)
    for name, outputs in here.items():
        assert outputs.shape == (2, CLASSES)
        np.testing.assert_allclose(outputs.sum(-1), 1, atol=1e-5)
        there = np.load(tmp_path / f"{name}_found.npy")
        np.testing.assert_array_equal(there, outputs)


def test_layers_of_the_network_are_its_own():
    """By reference and by name: trained in one, trained in both."""
    backbone = small_backbone()
    before = [layer.get_config() for layer in backbone.layers]
    model = keras_warn.augment(backbone)
    for layer in backbone.layers[:-1]:
        assert model.get_layer(layer.name) is layer
    # The classifier without its softmax is another layer on its variables.
    own, twin = backbone.layers[-1], model.get_layer("predictions")
    assert [id(v) for v in own.weights] == [id(v) for v in twin.weights]
    assert [layer.get_config() for layer in backbone.layers] == before


# As `fit` does. Without, a step takes less time than it takes to be traced.
TRACED = [dict(depth=2), dict(depth=2, preset="reference")]

OPTIONS = [
    *TRACED,
    dict(preset="paper"),
    dict(preset="paper", width=1, gate_score_activation=None),
    # Sums over many positions would saturate the tanh of the gates.
    dict(kernel_size=5, mask_activation="sigmoid"),
    dict(projection=3, kernel_size=3, diversity_weight=0.1),
    dict(gates="sigmoid", agreement_weight=0.5, gradient_scale=0.1),
    dict(gates="linear", rank=1, depth=2),
    dict(combination="probabilities"),
    dict(classifier_activation=None, agreement_weight=0),
    dict(classifier_activation=None, combination="probabilities"),
    dict(kernel_initializer="zeros"),
]


def name_of(options):
    return "-".join(f"{k}={v}" for k, v in options.items())


def fit(model):
    """One step of SGD on three images; its loss."""
    model.compile(
        "sgd", "sparse_categorical_crossentropy", run_eagerly=TENSORFLOW
    )
    history = model.fit(IMAGES, np.arange(3), verbose=0)
    return history.history["loss"][0]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_every_option_trains_saves_and_reloads(options, tmp_path):
    """With a plain string loss, and no warning from build to reload."""
    labels = np.arange(3)
    model = keras_warn.augment(small_backbone(), **{"depth": 1, **options})
    loss = "sparse_categorical_crossentropy"
    if "classifier_activation" in options:
        loss = keras_warn.GatedLogLikelihood()
    model.compile(
        "sgd",
        loss,
        metrics=["accuracy"],
        run_eagerly=TENSORFLOW and options not in TRACED,
    )
    before = {v.path: to_numpy(v) for v in model.trainable_variables}
    history = prepared(model, labels).fit(
        IMAGES, labels, batch_size=3, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
    if options.get("kernel_initializer") != "zeros":
        still = [
            v.path
            for v in model.trainable_variables
            if np.array_equal(before[v.path], to_numpy(v))
        ]
        # One head has nothing to gate.
        gates = [p for p in before if "head_gates" in p]
        assert still == (gates if options.get("width") == 1 else [])
    expected = to_numpy(model(IMAGES))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    intermediates = keras_warn.inspect(again)(IMAGES)
    np.testing.assert_array_equal(
        to_numpy(intermediates["prediction"]), expected
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_has_and_what_is_given(preset):
    """As if all was given; and what is given, wins."""

    def built(**arguments):
        keras.utils.clear_session()  # automatic names count from the start
        with without_weights():
            model = keras_warn.augment(small_backbone(), depth=1, **arguments)
        return model.get_config()

    values = PRESETS[preset]
    assert built(preset=preset) == built(**values)
    other = PRESETS["paper" if preset == "reference" else "reference"]
    given = {name: other[name] for name in list(other)[::2]}
    assert built(preset=preset, **given) == built(**{**values, **given})


@pytest.mark.parametrize(
    "preset, given",
    [
        ("side_by_side", {"gates": "linear"}),
        ("reference", {"combination": "probabilities"}),
    ],
)
def test_the_agreement_of_a_preset_gives_way(preset, given):
    """Two arguments that are given and contradict each other are an error."""
    model = keras_warn.augment(small_backbone(), preset=preset, **given)
    assert model.get_layer("rectified").agreement_weight == 0
    with pytest.raises(ValueError, match="`agreement_weight` must be 0 with"):
        keras_warn.augment(
            small_backbone(), preset=preset, agreement_weight=1, **given
        )


def test_only_what_learns_has_its_gradient_scaled():
    """Equal gates have none."""

    def scaled(**arguments):
        model = keras_warn.augment(small_backbone(), depth=2, **arguments)
        return {
            layer.name: layer.factor
            for layer in model.layers
            if isinstance(layer, keras_warn.GradientScale)
        }

    names = ("module_1_gradient", "module_2_gradient")
    modules = dict.fromkeys(names, 0)
    assert scaled() == modules
    assert scaled(gates="softmax") == {**modules, "global_gradient": 0}
    assert scaled(gates="linear") == modules
    # Those of modules add up what they send; global gates are one reader.
    assert scaled(preset="paper") == dict.fromkeys(names, 1)


def frozen_before(net):
    net.trainable = False
    model = keras_warn.augment(net, preset="reference", depth=1)
    net.trainable = True
    return model


def thawed_by_the_model(net):
    net.trainable = False
    model = keras_warn.augment(net, depth=1)
    for layer in model.layers:
        layer.trainable = True
    assert model.get_layer("predictions").kernel.trainable
    return model


def frozen_after(net):
    model = keras_warn.augment(net, preset="reference", depth=1)
    net.trainable = False
    return model


def frozen_layers(net):
    model = keras_warn.augment(net, preset="reference", depth=1)
    model.get_layer("norm1").trainable = False
    model.get_layer("predictions").trainable = False
    # Which has a layer inside.
    model.get_layer("global_gates").trainable = False
    return model


def frozen_by_the_model(net):
    """It is what the network itself saves."""
    model = keras_warn.augment(net, depth=1)
    for layer in model.layers:
        layer.trainable = layer.name.startswith("module")
    return net


def frozen_inside(net):
    net.trainable = False
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, net(inputs))
    model = keras_warn.augment(outer, depth=1)
    outer.trainable = True
    net.get_layer("conv1").trainable = False
    return model


@pytest.mark.parametrize(
    "freeze",
    [
        frozen_before,
        thawed_by_the_model,
        frozen_after,
        frozen_layers,
        frozen_by_the_model,
        frozen_inside,
    ],
)
def test_what_is_trainable_survives_saving_and_cloning(freeze, tmp_path):
    model = freeze(small_backbone())
    expected = [variable.path for variable in model.trainable_variables]
    model.save(tmp_path / "model.keras")
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
    ):
        assert [v.path for v in again.trainable_variables] == expected


@pytest.mark.parametrize("floatx", ["bfloat16", "float32"])
def test_penalties_join_a_loss_of_another_precision(floatx):
    keras.config.set_floatx(floatx)
    if floatx == "float32":
        keras.config.set_dtype_policy("float64")
    loss = fit(
        keras_warn.augment(
            small_backbone(),
            depth=1,
            diversity_weight=0.1,
            agreement_weight=0.5,
        )
    )
    assert np.isfinite(float(loss))


def test_diversity_is_averaged_over_modules():
    model = keras_warn.augment(
        small_backbone(), preset="paper", depth=3, diversity_weight=0.3
    )
    intermediates = keras_warn.inspect(model)(IMAGES)
    penalty = keras_warn.MaskDiversity(0.3)
    each = [
        float(penalty(intermediates[f"module_{i}_masks"])) / len(IMAGES)
        for i in (1, 2, 3)
    ]
    model(IMAGES)
    assert float(sum(model.losses)) == pytest.approx(np.mean(each), rel=1e-4)


def parts_of_the_loss():
    """Gradients of the loss that `fit` takes, and of each cross-entropy.

    Dictionaries by the path of each variable.
    """
    model = keras_warn.augment(small_backbone(), depth=2)
    variables, labels = model.trainable_variables, np.arange(3)

    def call(part, weights, **options):
        of = dict(zip(map(id, variables), weights, strict=True))
        return part.stateless_call(
            [of[id(variable)] for variable in part.trainable_variables],
            [variable.value for variable in part.non_trainable_variables],
            IMAGES,
            **options,
        )

    def cross_entropy(outputs, from_logits):
        return ops.mean(
            keras.losses.sparse_categorical_crossentropy(
                labels, outputs, from_logits
            )
        )

    def whole(*weights):
        outputs, _, losses = call(model, weights, return_losses=True)
        return cross_entropy(outputs, False) + sum(losses)

    def alone(name):
        logits = keras_warn.inspect(model).output[name]
        part = keras.Model(model.input, logits)
        return lambda *weights: cross_entropy(call(part, weights)[0], True)

    names = ("backbone_prediction", *(f"module_{i}_prediction" for i in (1, 2)))
    values = [to_numpy(variable) for variable in variables]
    return [
        {
            variable.path: gradient
            for variable, gradient in zip(
                variables, gradients(function, values), strict=True
            )
        }
        for function in (whole, *map(alone, names))
    ]


def test_by_default_each_prediction_is_trained_on_its_own():
    """Each layer by one cross-entropy, that of the prediction it makes."""
    found, backbone, *modules = parts_of_the_loss()
    for path, gradient in found.items():
        own = backbone
        if path.startswith("module_"):
            own = modules[int(path[len("module_")]) - 1]
        assert np.abs(own[path]).max() > 1e-5, "a gradient worth comparing"
        np.testing.assert_allclose(gradient, own[path] / 3, atol=1e-6)
    for i, module in enumerate(modules, start=1):
        trained = {path for path, gradient in module.items() if gradient.any()}
        parts = ("masks", "hypotheses")
        assert trained == {f"module_{i}_{part}/kernel" for part in parts}


def test_sequential_and_nested_and_loaded(tmp_path):
    """What people have: a Sequential around a network, saved and loaded."""
    sequential = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            small_backbone(top=False),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    images = 255 * IMAGES
    expected = to_numpy(sequential(images))
    sequential.save(tmp_path / "mine.keras")
    loaded = keras.saving.load_model(tmp_path / "mine.keras")
    for network in (sequential, loaded):
        model = keras_warn.augment(network, depth=3)
        assert not any(isinstance(x, keras.Model) for x in model.layers)
        np.testing.assert_array_equal(
            with_gates_on_the_network(model, images), expected
        )


def test_tokens():
    """A network that ends in tokens is attended at them."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 8, strides=8)(inputs)
    x = layers.Reshape((16, 8))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling1D()(x)
    network = keras.Model(inputs, layers.Dense(CLASSES)(x))
    model = keras_warn.augment(network, depth=1, width=4)
    intermediates = keras_warn.inspect(model)(IMAGES)
    assert ops.shape(intermediates["module_1_masks"]) == (3, 16, 4)
    for options in (
        {"kernel_size": 3},
        {"diversity_weight": 0.1, "diversity_pool": 2},
    ):
        argument = list(options)[-1]
        with pytest.raises(ValueError, match=f"`{argument}` must be 1 on tok"):
            keras_warn.augment(network, depth=1, **options)


def test_channels_first():
    """In the layout of the network, whatever Keras's own setting is."""
    first = {"data_format": "channels_first"}
    inputs = keras.Input((3, 32, 24))
    x = layers.Conv2D(5, 3, strides=2, padding="same", **first)(inputs)
    x = layers.ReLU()(x)
    x = layers.Conv2D(7, 3, strides=2, padding="same", **first)(x)
    x = layers.ReLU()(x)
    model = keras_warn.augment(
        keras.Model(inputs, x),
        classes=CLASSES,
        preset="reference",
        depth=2,
        projection=2,
    )
    shapes = [model.get_layer(f"module_{i}_masks").output.shape for i in (1, 2)]
    assert shapes == [(None, 4, 16, 12), (None, 4, 8, 6)]
    assert model.get_layer("pooled_features").output.shape == (None, 7)
    if keras.backend.backend() != "tensorflow":  # has no such convolutions
        images = np.zeros((2, 3, 32, 24), "float32")
        assert ops.shape(model(images)) == (2, CLASSES)


def test_rank_is_of_modules_that_have_fewer_parameters_by_it():
    def ranks(**options):
        model = keras_warn.augment(small_backbone(), width=2, **options)
        names = [f"module_{i}_hypotheses" for i in (1, 2, 3)]
        return [model.get_layer(name).rank for name in names]

    assert ranks() == ranks(rank="full") == [None] * 3
    # Of 4, 6 and 8 channels, and two heads of seven classes.
    assert ranks(rank=4) == [None, 4, 4]
    assert ranks(rank=5) == [None, None, 5]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_follows_the_network(policy, tmp_path):
    """Also when the policy has been set back, and after reloading."""
    keras.config.set_dtype_policy(policy)
    backbone = small_backbone()
    keras.config.set_dtype_policy("float32")
    model = keras_warn.augment(
        backbone, depth=1, kernel_size=3, projection=4, gradient_scale=0.5
    )
    gradient = model.get_layer("module_1_gradient")
    assert gradient.output.dtype == policy.removeprefix("mixed_")
    for part in ("projection", "masks", "attended", "hypotheses"):
        layer = model.get_layer(f"module_1_{part}")
        assert layer.compute_dtype == policy.removeprefix("mixed_")
    found = to_numpy(model(IMAGES))
    assert found.dtype == np.float32 and np.isfinite(found).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(again(IMAGES)), found)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="exports by PyTorch"
)
def test_keras_exports_onnx_by_pytorch(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = keras_warn.augment(small_backbone(), kernel_size=3)
    expected = to_numpy(model(IMAGES))
    path = tmp_path / "model.onnx"
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: IMAGES})
    np.testing.assert_allclose(found, expected, atol=1e-6)


BAD = [
    (
        dict(preset="papers"),
        ValueError,
        "`preset` .*'side_by_side', 'paper', 'reference'.* preset='papers'",
    ),
    (dict(width=0), ValueError, "`width` .* width=0"),
    (dict(agreement_weight=-0.1), ValueError, "finite.*agreement_weight=-0.1"),
    (dict(kernel_size=2), ValueError, "`kernel_size` must be odd"),
    (dict(rank=0), ValueError, "`rank` .* rank=0"),
    (dict(rank="none"), TypeError, "`rank` .* or 'full'.* rank='none'"),
    (dict(projection=0), ValueError, "`projection` .* projection=0"),
    (dict(classes=9), ValueError, "`classes` .* 7, .* classes=9"),
    (dict(classes=1), ValueError, "`classes` .* at least 2.* classes=1"),
    (dict(classes=7.0), TypeError, "`classes` .* classes=7.0"),
    (dict(mask_activation="relu"), ValueError, "mask_activation='relu'"),
    (dict(gates="max"), ValueError, "`gates` .*'average'.* gates='max'"),
    (dict(gate_batch_norm="yes"), TypeError, "gate_batch_norm='yes'"),
    (dict(combination="mean"), ValueError, "combination='mean'"),
    (dict(classifier_activation="tanh"), ValueError, "softmax', None.*'tanh'"),
    (dict(diversity_weight=-1), ValueError, "finite.* diversity_weight=-1"),
    (dict(diversity_pool=0), ValueError, "diversity_pool=0"),
    (dict(gradient_scale=-1), ValueError, "gradient_scale=-1"),
    (dict(gate_score_activation="tahn"), ValueError, "activation='tahn'"),
    (dict(kernel_initializer="henormal"), ValueError, "initializer='henormal'"),
    (
        dict(diversity_weight=0.1, diversity_pool=9),
        ValueError,
        "diversity_pool=9, and a map of shape .*'relu3'",
    ),
]


@pytest.fixture(scope="module")
def unchanged():
    """A network that no call succeeds on, nor changes."""
    backbone = small_backbone()
    before = backbone.to_json()
    yield backbone
    assert backbone.to_json() == before


@pytest.mark.parametrize("options,error,message", BAD)
def test_bad_arguments(unchanged, options, error, message):
    with pytest.raises(error, match=message):
        keras_warn.augment(unchanged, **options)


def test_bad_networks():
    augment = keras_warn.augment
    with pytest.raises(ValueError, match="without attention.*'module_1_"):
        augment(augment(small_backbone()))
    with pytest.raises(ValueError, match="`classes` must be given"):
        augment(small_backbone(top=False))
    for name, classes, message in (
        ("rectified", 3, "leave .* 'rectified'"),
        ("map", 1, "at least 2 classes.* 1 unit"),
    ):
        inputs = keras.Input((32, 32, 3))
        x = layers.Conv2D(4, 3, activation="relu", name=name)(inputs)
        x = layers.GlobalAveragePooling2D()(x)
        network = keras.Model(inputs, layers.Dense(classes)(x))
        with pytest.raises(ValueError, match=message):
            augment(network, depth=1)


def test_a_list_of_one_input_takes_images_without_a_warning():
    """As networks of `keras.applications` on an `input_tensor` have it."""
    backbone = small_backbone()
    backbone = keras.Model([backbone.input], backbone.output)
    assert isinstance(backbone.input, list)
    model = keras_warn.augment(backbone, width=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = model(IMAGES)
        intermediates = keras_warn.inspect(model)(IMAGES)
    np.testing.assert_array_equal(
        to_numpy(predicted), to_numpy(intermediates["prediction"])
    )
