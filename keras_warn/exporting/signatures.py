"""The functions of an exported model: what they take and what they return."""

import math

import keras

from keras_warn import metadata
from keras_warn.attention import attention_of
from keras_warn.attention import part_name
from keras_warn.explanation import masks
from keras_warn.explanation.intermediates import inspect
from keras_warn.explanation.intermediates import outputs_of
from keras_warn.exporting import preprocessing
from keras_warn.operations import functions_inlined
from keras_warn.staging import stages

# Names of what signatures take.
IMAGES, ENCODED = "images", "image_bytes"


class Signatures:
    """The functions of an exported model, on tensors of TensorFlow.

    Where `strings` is set, they return the names of classes, too, and images
    may leave early: LiteRT has neither.
    """

    def __init__(self, plan, strings):
        self.plan = plan
        self._names = plan.class_names if strings else None
        self._inspected = inspect(plan.model)
        self._activation = attention_of(plan.model).rectified.activation
        known = metadata.of_model(plan.model)
        self._calibration = known.calibration
        self._served = {"serve": self._serve, "explain": self._explain}
        if strings and known.early_exits is not None:
            self._threshold = known.early_exits.threshold
            self._stages = stages(plan.model)
            self._served["serve_early"] = self._serve_early

    def functions(self) -> dict:
        """All functions: a dictionary from their names.

        Each takes a batch and returns a dictionary of batches.
        """
        makers = {"": self._images}
        if self.plan.encoded:
            makers["_bytes"] = self._encoded

        def chained(first, second):
            return lambda tensor: second(first(tensor))

        return {
            f"{name}{ending}": chained(make_ready, of)
            for ending, make_ready in makers.items()
            for name, of in self._served.items()
        }

    def specs(self) -> dict:
        """What the functions of these names take, `tf.TensorSpec`s."""
        import tensorflow as tf

        plan = self.plan
        size = (None, None) if plan.fitted else plan.size
        own = tf.TensorSpec(plan.shape(size), tf.float32, name=IMAGES)
        found = dict.fromkeys(self._served, own)
        if plan.encoded:
            encoded = tf.TensorSpec((None,), tf.string, name=ENCODED)
            found |= {f"{name}_bytes": encoded for name in self._served}
        return found

    def described(self, traced) -> dict:
        """What a program needs to know of them as `tf.function`s, for JSON."""
        found = {}
        for name, spec in self.specs().items():
            function = traced[name].get_concrete_function()
            shapes = {
                key: output.shape.as_list()
                for key, output in function.structured_outputs.items()
            }
            of_files = name.endswith("_bytes")
            takes = "files of JPEG or PNG" if of_files else self.plan.takes
            found[name] = described(takes, spec, shapes)
        return found

    def _images(self, images):
        plan = self.plan
        if plan.fitted:
            images = preprocessing.fit(
                images, plan.size, plan.resize, plan.resize_shorter_edge
            )
        if plan.prepared:
            images = preprocessing.preprocess(
                images, plan.preprocessing, plan.data_format
            )
        return images

    def _encoded(self, encoded):
        import tensorflow as tf

        plan = self.plan

        def one(of_file):
            pixels = preprocessing.decode(of_file, plan.channels)
            return preprocessing.fit(
                pixels[None], plan.size, plan.resize, plan.resize_shorter_edge
            )[0]

        pixels = tf.map_fn(
            one,
            encoded,
            fn_output_signature=tf.TensorSpec(
                (*plan.size, plan.channels), tf.float32
            ),
        )
        return preprocessing.preprocess(
            pixels, plan.preprocessing, plan.data_format
        )

    def _serve(self, images):
        intermediates = self._inspected(images, training=False)
        return self._named(self._probabilities(outputs_of(intermediates)))

    def _serve_early(self, images):
        """The rest of the model runs for images that have not left, if any."""
        import tensorflow as tf

        def from_stage(i, tensors):
            """What these images get, and in which stage."""
            if i == len(self._stages):
                found = self._stages[-1](tensors, training=False)
                return self._calibrated(found), tf.fill(tf.shape(found)[:1], i)
            found, tensors = self._stages[i - 1](tensors, training=False)
            found, stage = _wide(found), tf.fill(tf.shape(found)[:1], i)
            sure = tf.reduce_max(found, axis=-1) >= self._threshold
            unsure = tf.where(~sure)

            def rest():
                left = [tf.gather(x, unsure[:, 0]) for x in tensors]
                later = from_stage(i + 1, tuple(left))
                return [
                    tf.tensor_scatter_nd_update(x, unsure, y)
                    for x, y in zip((found, stage), later, strict=True)
                ]

            return tf.cond(tf.reduce_all(sure), lambda: [found, stage], rest)

        probabilities, stage = from_stage(1, images)
        return self._named({"probabilities": probabilities, "stage": stage})

    def _explain(self, images):
        intermediates = self._inspected(images, training=False)
        outputs = outputs_of(intermediates)
        found = {
            **self._probabilities(outputs),
            "backbone_probabilities": keras.ops.softmax(
                _wide(outputs.backbone_prediction), axis=-1
            ),
            **{
                name: _wide(value)
                for name, value in intermediates.items()
                if name.endswith("_gates")
            },
            **self._masks(intermediates, images),
        }
        return self._named(found)

    def _calibrated(self, prediction):
        """Probabilities, of what the whole model predicts."""
        found = _wide(prediction)
        if self._activation is None:
            found = keras.ops.softmax(found, axis=-1)
        if self._calibration is None:
            return found
        # Low temperatures make high powers, which would all be 0 in float32.
        found = found / keras.ops.max(found, axis=-1, keepdims=True)
        powers = found ** (1 / self._calibration.temperature)
        return powers / keras.ops.sum(powers, axis=-1, keepdims=True)

    def _probabilities(self, outputs):
        found = self._calibrated(outputs.prediction)
        calibration = self._calibration
        if calibration is None:
            return {"probabilities": found}
        highest = keras.ops.max(found, axis=-1)
        of_backbone = _wide(outputs.backbone_prediction)
        # Not by `argmax`, which ONNX and LiteRT cannot write.
        backbone_logit = keras.ops.max(
            keras.ops.where(found >= highest[:, None], of_backbone, -math.inf),
            axis=-1,
        )
        answered = keras.ops.logical_and(
            highest >= calibration.threshold,
            backbone_logit >= calibration.least_backbone_logit,
        )
        return {
            "probabilities": found,
            "backbone_logit": backbone_logit,
            "answered": answered,
        }

    def _masks(self, intermediates, images):
        plan = self.plan
        modules = outputs_of(intermediates).modules
        found = {
            part_name(i, "masks"): module.masks
            for i, module in enumerate(modules, start=1)
        }
        if plan.masks == "maps":
            return {name: _wide(maps) for name, maps in found.items()}
        axis = 2 if plan.data_format == "channels_first" else 1
        size = keras.ops.shape(images)[axis : axis + 2]
        if plan.masks == "modules":
            return {
                "masks": masks.masks_of(intermediates, plan.placements, size)
            }
        return {
            name: keras.ops.transpose(
                masks.head_masks(maps, placement, size), (0, 2, 3, 1)
            )
            for (name, maps), placement in zip(
                found.items(), plan.placements, strict=True
            )
        }

    def _named(self, found):
        if self._names is None:
            return found
        import tensorflow as tf

        # For each image, as programs that serve batches want it.
        images = tf.shape(found["probabilities"])[0]
        names = tf.tile(tf.constant([self._names]), (images, 1))
        return {**found, "class_names": names}


def described(takes, spec, shapes) -> dict:
    """What a program needs to know of one function, for JSON."""
    return {
        "takes": takes,
        "input": {
            "name": spec.name,
            "shape": spec.shape.as_list(),
            "dtype": spec.dtype.name,
        },
        "outputs": shapes,
    }


def as_keras_model(plan) -> tuple:
    """The function `explain` as a Keras model, and what it takes.

    Its graph has weights and other constants inside: of those that a layer
    holds as tensors, as `Normalization` its mean, tf2onnx 1.17 makes inputs.
    """
    import tensorflow as tf

    signatures = Signatures(plan, strings=False)
    spec = signatures.specs()["explain"]
    graph_def, outputs = _frozen(signatures.functions()["explain"], spec)

    class Explained(keras.Model):
        def __init__(self):
            super().__init__(name="explained")
            self.built = True

        def call(self, images):
            found = tf.graph_util.import_graph_def(
                graph_def,
                {f"{IMAGES}:0": images},
                return_elements=list(outputs.values()),
                name="",
            )
            return dict(zip(outputs, found, strict=True))

    return Explained(), spec


def _frozen(function, spec):
    """`GraphDef` with variables as constants, and names of outputs by key."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants

    traced = tf.function(function, input_signature=[spec], autograph=False)
    with functions_inlined():  # which freezing does not do
        concrete = traced.get_concrete_function()
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    names = [output.name for output in frozen.outputs]
    # As TensorFlow flattens dictionaries.
    keys = sorted(concrete.structured_outputs)
    return frozen.graph.as_graph_def(), dict(zip(keys, names, strict=True))


def _wide(tensor):
    return keras.ops.cast(tensor, "float32")
