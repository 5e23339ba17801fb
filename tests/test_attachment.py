"""Where modules are attached, in every network of Keras and by name."""

import inspect

import keras
import pytest
from keras import layers
from keras import ops
from support import without_weights

from keras_warn import attachment
from keras_warn import graph
from keras_warn._classifier import read_classifier
from keras_warn.attachment import attachment_points

CONSTRUCTORS = {
    name: constructor
    for name, constructor in vars(keras.applications).items()
    if inspect.isfunction(constructor)
    and "classifier_activation" in inspect.signature(constructor).parameters
}

# The four deepest points of networks of each family: sizes and channels.
DEEPEST = {
    # Activated sums.
    "ResNet50": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    # Normalised and activated, where blocks end in plain sums.
    "ResNet50V2": [(56, 256), (28, 512), (14, 1024), (7, 2048)],
    "DenseNet121": [(56, 256), (28, 512), (14, 1024), (7, 1024)],
    "Xception": [(74, 128), (37, 256), (19, 728), (10, 2048)],
    # Expanded, activated maps and not linear bottlenecks; at the last
    # resolution in front of the head's 1x1 convolution, and behind it.
    "MobileNetV2": [(28, 192), (14, 576), (7, 960), (7, 1280)],
    "MobileNetV3Small": [(28, 96), (14, 288), (7, 288), (7, 576)],
    "EfficientNetB0": [(28, 240), (14, 672), (7, 1152), (7, 1280)],
    "EfficientNetV2B0": [(28, 192), (14, 672), (7, 672), (7, 1280)],
    # Normalised sums, and the last sum.
    "ConvNeXtTiny": [(56, 96), (28, 192), (14, 384), (7, 768)],
    # No residuals.
    "VGG16": [(56, 256), (28, 512), (14, 512), (7, 512)],
    "InceptionV3": [(71, 192), (35, 288), (17, 768), (8, 2048)],
    # Cells that read two cells before them.
    "NASNetMobile": [(56, 44), (28, 264), (14, 528), (7, 1056)],
}
# Of each family one that is built in a second or two.
LIGHT = DEEPEST.keys() - {"EfficientNetB0", "NASNetMobile"}
# One that ends in each of these ways.
QUICK = ("MobileNetV2", "ResNet50V2", "ConvNeXtTiny", "VGG16", "InceptionV3")
if keras.backend.backend() == "torch":
    del CONSTRUCTORS["NASNetMobile"], DEEPEST["NASNetMobile"]


def light_or_slow(names, light):
    return [
        pytest.param(n, marks=[] if n in light else pytest.mark.slow)
        for n in names
    ]


def resolve(model, *args, **kwargs):
    return attachment.resolve(graph.read(model), *args, **kwargs)


def operation(model, tensor):
    return graph.Graph(model).producer(tensor).operation


def shapes(model):
    return [tuple(point.shape[1:]) for point in attachment_points(model)]


@pytest.mark.parametrize("name", light_or_slow(CONSTRUCTORS, LIGHT))
def test_networks_of_keras(name):
    with without_weights():
        model = graph.flatten(CONSTRUCTORS[name](weights=None))
        points = attachment_points(model)
        assert len(points) >= 4
        if name in DEEPEST:
            for (height, _, channels), expected in zip(
                shapes(model)[-4:], DEEPEST[name], strict=True
            ):
                assert (height or expected[0], channels) == expected
        sizes = graph.Graph(model).shapes(size=256)
        heights = [sizes[id(point)][1] for point in points]
        if heights[-2] == heights[-1]:  # in front of a head, and behind it
            del heights[-2]
        for above, below in zip(heights, heights[1:], strict=False):
            assert above > 1.5 * below
        assert heights[-1] > 1
        assert all(len(point.shape) == 4 for point in points)
        makers = [operation(model, point) for point in points]
        assert not any(isinstance(m, layers.ZeroPadding2D) for m in makers)
        if name.startswith(("ResNet", "DenseNet", "MobileNetV2")):
            # Not the sums and linear bottlenecks before the activation.
            for maker in makers[-4:]:
                assert isinstance(maker, (layers.Activation, layers.ReLU))
        classifier = read_classifier(graph.Graph(model))
        assert classifier.classes == 1000
        assert tuple(classifier.logits.shape) == (None, 1000)
        assert classifier.features.shape[1] >= points[-1].shape[-1]


@pytest.mark.parametrize("name", light_or_slow(DEEPEST, QUICK))
def test_the_deepest_points_without_a_classifier(name):
    """And without a fixed size of images: by structure."""
    # It does not take images of any size.
    side = 224 if name == "NASNetMobile" else None
    with without_weights():
        model = graph.flatten(
            CONSTRUCTORS[name](
                input_shape=(side, side, 3), include_top=False, weights=None
            )
        )
        channels = [c for _, _, c in shapes(model)[-4:]]
        assert channels == [c for _, c in DEEPEST[name]]
        if name == "ConvNeXtTiny":  # whose map is normalised in the end
            assert attachment_points(model)[-1] is model.output


def test_small_images():
    """One position leaves nothing to attend to."""
    with without_weights():
        model = keras.applications.ResNet50(
            input_shape=(32, 32, 3), include_top=False, weights=None
        )
        assert model.output_shape == (None, 1, 1, 2048)
        assert shapes(model)[-2:] == [(4, 4, 512), (2, 2, 1024)]


@pytest.fixture(scope="module")
def small():
    """A pre-activation network with one block at each resolution."""
    return build_small()


def build_small(data_format="channels_last", size=16):
    first = data_format == "channels_first"
    axis = 1 if first else -1
    options = {"padding": "same", "data_format": data_format}
    inputs = keras.Input((3, size, size) if first else (size, size, 3))
    x = layers.Rescaling(0.1, name="rescale")(inputs)
    for i, filters in enumerate((5, 7, 11)):
        x = layers.Conv2D(filters, 3, 2, name=f"down_{i}", **options)(x)
        y = layers.BatchNormalization(axis=axis, name=f"norm_{i}")(x)
        y = layers.ReLU(name=f"act_{i}")(y)
        y = layers.Conv2D(filters, 3, name=f"conv_{i}", **options)(y)
        x = layers.Add(name=f"sum_{i}")([x, y])
    x = layers.BatchNormalization(axis=axis, name="norm")(x)
    x = layers.ReLU(name="act")(x)
    x = layers.GlobalAveragePooling2D(data_format=data_format, name="pool")(x)
    return keras.Model(inputs, layers.Dense(13, name="head")(x), name="small")


def names(model, tensors):
    return [operation(model, tensor).name for tensor in tensors]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_points_are_found_in_either_data_format(data_format):
    # Building convolutions needs no device that can run them.
    with without_weights():
        model = build_small(data_format, size=32)
        # The strided convolutions read the plain sums.
        assert names(model, attachment_points(model)) == [
            "sum_0",
            "sum_1",
            "act",
        ]
        channels = 1 if data_format == "channels_first" else 3
        found = [p.shape[channels] for p in attachment_points(model)]
        assert found == [5, 7, 11]


def inverted_residuals():
    """Linear bottlenecks, of which only the first is read expanded."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="expand")(inputs)
    x = layers.Conv2D(2, 1, name="project")(x)
    y = layers.Conv2D(8, 1, activation="relu", name="inside")(x)
    y = layers.Conv2D(2, 1, name="project_inside")(y)
    x = layers.Add(name="bottleneck")([x, y])
    x = layers.Conv2D(8, 3, 2, activation="relu", name="last")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, x)


def test_linear_bottlenecks_give_way_to_the_last_activated_cut():
    model = inverted_residuals()
    assert names(model, attachment_points(model)) == ["expand", "last"]


def test_cuts_go_before_what_a_shortcut_bypasses():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 1, activation="relu", name="cut")(inputs)
    y = [layers.Conv2D(4, k, 1, "same", activation="relu")(x) for k in (1, 3)]
    y = layers.Concatenate(name="inside")(y)
    y = layers.Conv2D(5, 1, 2)(y)
    x = layers.ReLU(name="out")(layers.Conv2D(5, 1, 2)(x) + y)
    model = keras.Model(inputs, x)
    assert names(model, attachment_points(model)) == ["cut", "out"]


def test_borders_lost_without_padding_are_no_new_resolution():
    inputs = keras.Input((28, 28, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="one")(inputs)
    x = layers.Conv2D(5, 3, activation="relu", name="two")(x)
    x = layers.MaxPooling2D(name="halved")(x)
    model = keras.Model(inputs, layers.Conv2D(7, 3, name="three")(x))
    assert names(model, attachment_points(model)) == ["two", "halved"]


def test_class_maps_are_not_features():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="features")(inputs)
    x = layers.Conv2D(7, 1, activation="relu", name="scores")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Softmax()(x))
    assert names(model, attachment_points(model)) == ["features"]


def test_only_outputs_that_are_read_are_points():
    """Blocks may return attention weights beside."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(12, 8, 8, name="patches")(inputs)
    x = layers.Reshape((16, 12))(x)
    block = layers.MultiHeadAttention(2, 6)
    x, _ = block(x, x, return_attention_scores=True)
    (point,) = attachment_points(keras.Model(inputs, x))
    assert point is x


def vision_transformer(stem=0):
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for i in range(stem):
        x = layers.Conv2D(12, 3, 2, "same", activation="relu", name=f"{i}")(x)
    x = layers.Conv2D(12, 8 // 2**stem, 8 // 2**stem, name="patches")(x)
    x = layers.Reshape((16, 12))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 6)(y, y)
        y = layers.Dense(24, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(12)(y)
    x = layers.LayerNormalization(name="tokens")(x)
    return keras.Model(inputs, layers.Dense(7)(x[:, 0]))


def test_tokens_are_the_last_point_and_the_only_one_of_their_resolution():
    model = vision_transformer()
    assert names(model, attachment_points(model)) == ["tokens"]
    assert names(model, resolve(model)) == ["tokens"]
    model = vision_transformer(stem=3)
    assert names(model, attachment_points(model)) == ["0", "1", "tokens"]


def test_the_default_depth_is_three_or_all_there_are(small):
    assert names(small, resolve(small)) == ["sum_0", "sum_1", "act"]
    assert names(small, resolve(small, depth=2)) == ["sum_1", "act"]
    assert len(resolve(inverted_residuals())) == 2
    with without_weights():
        assert len(resolve(keras.applications.VGG16(weights=None))) == 3


def test_attend_at_takes_names_indices_and_tensors_in_any_order(small):
    tensor = small.get_layer("norm_1").output
    found = resolve(small, ["act", -2, tensor, "conv_0"])
    assert names(small, found) == ["act", "sum_1", "norm_1", "conv_0"]
    assert found[2] is tensor
    assert names(small, resolve(small, "act_0")) == ["act_0"]
    assert names(small, resolve(small, -1, depth=1)) == ["act"]
    assert names(small, resolve(small, (tensor, "act"), depth=2)) == [
        "norm_1",
        "act",
    ]


def test_a_tensor_of_a_nested_model_stands_for_its_layer():
    inner = inverted_residuals()
    inputs = keras.Input((16, 16, 3))
    flat = graph.flatten(keras.Model(inputs, inner(inputs)))
    (found,) = resolve(flat, inner.get_layer("inside").output)
    assert found in graph.Graph(flat)
    assert names(flat, [found]) == ["inside"]


def test_operations_that_are_not_layers_have_names_too():
    inputs = keras.Input((8, 8, 3))
    total = layers.Conv2D(5, 3)(inputs) + 1
    model = keras.Model(inputs, ops.relu(total))
    name = operation(model, total).name
    assert resolve(model, name)[0] is total


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"depth": 4}, ValueError, "at most 3.*'sum_0', 'sum_1', 'act'.*=4"),
        ({"depth": "2"}, TypeError, "`depth` must be a positive integer"),
        ({"depth": 0}, ValueError, "`depth` must be a positive integer"),
        ({"attend_at": ["act"], "depth": 3}, ValueError, r"act'\] and depth=3"),
        ({"attend_at": "sum_3"}, ValueError, "'sum_3'; did you mean .*'sum_2'"),
        ({"attend_at": "elsewhere"}, ValueError, "attend_at='elsewhere'.$"),
        ({"attend_at": 0}, ValueError, "shallowest, -3.*attend_at=0"),
        ({"attend_at": -4}, ValueError, "shallowest, -3.*attend_at=-4"),
        ({"attend_at": [True]}, TypeError, "`attend_at` must be a layer name"),
        ({"attend_at": [None]}, TypeError, "`attend_at` must be a layer name"),
        ({"attend_at": []}, ValueError, "an entry for each module"),
        ({"attend_at": "head"}, ValueError, "maps of shape.*'head'"),
        ({"attend_at": "pool"}, ValueError, "maps of shape.*'pool'"),
    ],
    ids=str,
)
def test_wrong_arguments(small, arguments, error, message):
    with pytest.raises(error, match=message):
        resolve(small, **arguments)


def test_tensors_of_other_models_and_of_layers_that_are_used_twice(small):
    with pytest.raises(ValueError, match="must name tensors of the model"):
        resolve(small, build_small().get_layer("act").output)
    inputs = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 1, name="shared")
    first = shared(inputs)
    model = keras.Model(inputs, shared(first))
    with pytest.raises(ValueError, match="one output.*'shared', which has 2"):
        resolve(model, "shared")
    assert resolve(model, first)[0] is first


def test_a_network_without_feature_maps():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(5)])
    with pytest.raises(ValueError, match="must have feature maps"):
        resolve(model)
