"""Attention on whole networks."""

import fresh
import keras
import numpy as np
import paper_networks
import pytest
from keras import layers
from keras import ops
from support import TENSORFLOW
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
    "InceptionResNetV2": {"input_shape": (75, 75, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "VGG16": {},  # hidden dense layers
    "Xception": {"input_shape": (71, 71, 3)},
}
if keras.backend.backend() == "torch":
    del SLOW_FAMILIES["NASNetMobile"]  # Keras cannot build it there.


def build(family):
    """A network of `family` with random but lively weights."""
    options = {"input_shape": (SIZE, SIZE, 3), "classes": CLASSES}
    options |= {**FAMILIES, **SLOW_FAMILIES}[family]
    if family == "WideResNet":
        return paper_networks.WideResNet(**options)
    return getattr(keras.applications, family)(weights=None, **options)


def images_for(model):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (2, *model.input_shape[1:])).astype("float32")


def small_backbone(top=True):
    """A little network of three resolutions."""
    x = inputs = keras.Input((32, 32, 3), name="image")
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


def with_gates_on_the_network(model, images):
    """The output of the model with all gates on the network's own."""
    layer = model.get_layer("rectified")
    # The gates, and the logits of the network and of all modules.
    parts = keras.Model(model.input, keras.tree.flatten(layer.input))
    gates, *predictions = parts(images)
    first = np.eye(*ops.shape(gates), dtype="float32")[[0] * len(images)]
    return to_numpy(layer(first, predictions))


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
def test_own_prediction_to_the_bit_and_reloading(names, tmp_path):
    """In a fresh process, in safe mode, without a warning."""
    here = {}
    for name in names:
        backbone = build(name)
        model = keras_warn.augment(backbone, depth=3, width=2)
        images = images_for(backbone)
        np.testing.assert_array_equal(
            with_gates_on_the_network(model, images), to_numpy(backbone(images))
        )
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
    before = backbone.to_json()
    model = keras_warn.augment(backbone)
    for layer in backbone.layers[:-1]:
        assert model.get_layer(layer.name) is layer
    # The classifier without its softmax is another layer on its variables.
    own, twin = backbone.layers[-1], model.get_layer("predictions")
    assert [id(v) for v in own.weights] == [id(v) for v in twin.weights]
    assert backbone.to_json() == before


# As `fit` does. Without, a step takes less time than it takes to be traced.
TRACED = [dict(depth=2), dict(depth=2, preset="reference")]

OPTIONS = [
    *TRACED,
    dict(preset="paper", gate_score_activation=None),
    # Sums over many positions would saturate the tanh of the gates.
    dict(kernel_size=5, mask_activation="sigmoid"),
    dict(projection=3, kernel_size=3, diversity_weight=0.1),
    dict(gates="sigmoid", agreement_weight=0.5, gradient_scale=0.1),
    dict(gates="linear", rank=1, depth=2),
    dict(combination="probabilities"),
    dict(classifier_activation=None, agreement_weight=0),
    dict(classifier_activation=None, combination="probabilities"),
]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_saves_and_reloads(options, tmp_path):
    """With a plain string loss, and no warning from build to reload."""
    labels = np.arange(3)
    model = keras_warn.augment(small_backbone(), **{"depth": 1, **options})
    loss = "sparse_categorical_crossentropy"
    if "classifier_activation" in options:
        loss = keras_warn.GatedLogLikelihood()
    eager = TENSORFLOW and options not in TRACED
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=eager)
    before = [to_numpy(v) for v in model.trainable_variables]
    history = prepared(model, labels).fit(IMAGES, labels, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for variable, value in zip(model.trainable_variables, before, strict=True):
        assert (to_numpy(variable) != value).any(), variable.path
    expected = to_numpy(model(IMAGES))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    found = keras_warn.inspect(again)(IMAGES)["prediction"]
    np.testing.assert_array_equal(to_numpy(found), expected)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_has_and_what_is_given(preset):
    """As if all was given; and what is given, wins."""

    def built(**arguments):
        with without_weights():
            model = keras_warn.augment(small_backbone(), depth=1, **arguments)
        return model.get_config()

    values = PRESETS[preset]
    assert built(preset=preset) == built(**values)
    other = PRESETS["paper" if preset == "reference" else "reference"]
    given = {name: other[name] for name in list(other)[::2]}
    assert built(preset=preset, **given) == built(**{**values, **given})


@pytest.mark.parametrize(
    "given", [{"gates": "linear"}, {"combination": "probabilities"}]
)
def test_the_agreement_of_a_preset_gives_way(given):
    """Two arguments that are given and contradict each other are an error."""
    model = keras_warn.augment(small_backbone(), **given)
    assert model.get_layer("rectified").agreement_weight == 0
    with pytest.raises(ValueError, match="`agreement_weight` must be 0 with"):
        keras_warn.augment(small_backbone(), agreement_weight=1, **given)


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


@pytest.mark.parametrize(
    "freeze",
    [frozen_before, thawed_by_the_model, frozen_layers, frozen_by_the_model],
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
    options = {"diversity_weight": 0.1, "agreement_weight": 0.5}
    model = keras_warn.augment(small_backbone(), depth=2, **options)
    loss = "sparse_categorical_crossentropy"
    model.compile("sgd", loss, run_eagerly=TENSORFLOW)
    assert np.isfinite(float(model.train_on_batch(IMAGES, np.arange(3))))
    # Averaged over modules.
    penalty = model.get_layer("module_1_masks").activity_regularizer
    assert penalty.weight == 0.05


def parts_of_the_loss():
    """Gradients of the loss that `fit` takes, and of each cross-entropy.

    Dictionaries by the path of each variable, read off a step of training.
    """
    model = keras_warn.augment(small_backbone(), depth=2)
    start = model.get_weights()
    before = [to_numpy(variable) for variable in model.trainable_variables]
    logits = keras_warn.inspect(model).output
    names = ("backbone_prediction", *(f"module_{i}_prediction" for i in (1, 2)))
    found = []
    for output in (model.output, *(logits[name] for name in names)):
        part = keras.Model(model.input, output)
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=output is not model.output
        )
        sgd = keras.optimizers.SGD(1.0)
        part.compile(sgd, loss, run_eagerly=TENSORFLOW)
        part.train_on_batch(IMAGES, np.arange(3))
        steps = zip(model.trainable_variables, before, strict=True)
        found.append({v.path: value - to_numpy(v) for v, value in steps})
        model.set_weights(start)
    return found


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
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
    sequential.save(tmp_path / "mine.keras")
    loaded = keras.saving.load_model(tmp_path / "mine.keras")
    model = keras_warn.augment(loaded, depth=3)
    assert not any(isinstance(x, keras.Model) for x in model.layers)
    images = 255 * IMAGES
    np.testing.assert_array_equal(
        with_gates_on_the_network(model, images), to_numpy(sequential(images))
    )


def test_tokens():
    """A network that ends in tokens is attended at them."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 8, strides=8)(inputs)
    x = layers.Reshape((16, 8))(x)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.GlobalAveragePooling1D()(x)
    network = keras.Model(inputs, layers.Dense(CLASSES)(x))
    model = keras_warn.augment(network, depth=1, width=4)
    masks = keras_warn.inspect(model)(IMAGES)["module_1_masks"]
    assert ops.shape(masks) == (3, 16, 4)
    with pytest.raises(ValueError, match="`kernel_size` must be 1 on tok"):
        keras_warn.augment(network, depth=1, kernel_size=3)
    pooled = {"diversity_weight": 0.1, "diversity_pool": 2}
    with pytest.raises(ValueError, match="`diversity_pool` must be 1 on tok"):
        keras_warn.augment(network, depth=1, **pooled)


def test_channels_first():
    """In the layout of the network, whatever Keras's own setting is."""
    first = {"data_format": "channels_first"}
    x = inputs = keras.Input((3, 32, 24))
    for channels in (5, 7):
        x = layers.Conv2D(channels, 3, 2, padding="same", **first)(x)
        x = layers.ReLU()(x)
    backbone = keras.Model(inputs, x)
    model = keras_warn.augment(
        backbone, CLASSES, preset="reference", projection=2
    )
    shapes = [model.get_layer(f"module_{i}_masks").output.shape for i in (1, 2)]
    assert shapes == [(None, 4, 16, 12), (None, 4, 8, 6)]
    assert model.get_layer("pooled_features").output.shape == (None, 7)
    found = keras_warn.summary(model)
    assert [one.shape for one in found.modules] == [(5, 16, 12), (7, 8, 6)]
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
    for part in ("gradient", "projection", "masks", "attended", "hypotheses"):
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
    (dict(preset="papers"), ValueError, "'side_by_side', .* preset='papers'"),
    (dict(width=0), ValueError, "`width` .* width=0"),
    (dict(rank=0), ValueError, "`rank` .* rank=0"),
    (dict(rank="none"), TypeError, "`rank` .* or 'full'.* rank='none'"),
    (dict(projection=0), ValueError, "`projection` .* projection=0"),
    (dict(classes=9), ValueError, "`classes` .* 7, .* classes=9"),
    (dict(classes=1), ValueError, "`classes` .* at least 2.* classes=1"),
    (dict(classes=7.0), TypeError, "`classes` .* classes=7.0"),
    (dict(mask_activation="relu"), ValueError, "mask_activation='relu'"),
    (dict(gates="max"), ValueError, "`gates` .*'average'.* gates='max'"),
    (dict(gate_batch_norm="yes"), TypeError, "gate_batch_norm='yes'"),
    (dict(classifier_activation="tanh"), ValueError, "softmax', None.*'tanh'"),
    (dict(diversity_weight=-1), ValueError, "finite.* diversity_weight=-1"),
    (dict(diversity_pool=0), ValueError, "diversity_pool=0"),
    (dict(gradient_scale=-1), ValueError, "gradient_scale=-1"),
    (dict(gate_score_activation="tahn"), ValueError, "activation='tahn'"),
    (dict(diversity_weight=1, diversity_pool=9), ValueError, "map .*'relu3'"),
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


@pytest.mark.filterwarnings("error")
def test_a_list_of_one_input_takes_images_without_a_warning():
    """As networks of `keras.applications` on an `input_tensor` have it."""
    backbone = small_backbone()
    backbone = keras.Model([backbone.input], backbone.output)
    assert isinstance(backbone.input, list)
    model = keras_warn.augment(backbone, width=2)
    found = keras_warn.inspect(model)(IMAGES)["prediction"]
    np.testing.assert_array_equal(to_numpy(model(IMAGES)), to_numpy(found))
