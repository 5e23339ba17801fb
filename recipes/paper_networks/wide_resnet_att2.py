"""The attention that the paper compares its own with, on a wide ResNet."""

import keras

from paper_networks import building
from paper_networks.wide_resnet import residual_groups

_ATTENDED_GROUPS = (2, 3)
_GLOBAL_CONVOLUTIONS = 2


def WideResNetAtt2(depth=40, width=10, **ends):
    """A wide residual network that must classify by what it attends to.

    WRN-att2 of the paper's Tables 1 and 2: "Learn to pay attention" on the
    maps in which the last two groups of a `WideResNet` end. A global feature
    `g` of the whole image says which of the local features `l_i` of a map
    matter, and only their weighted mean is classified:

    `a = softmax_i(c_i)`, `g_a = sum_i a_i l_i`, `classes = W concat(g_a)`,

    where the compatibility score `c_i` is `<u, l_i + g>` with learned weights
    `u`. Where a map has another number of channels than `g`, a linear map of
    `g` takes its place. Unlike in
    `keras_warn.augment`, the attention of a shallow map has to wait for the
    deepest one, and the network's own classifier is gone.

    Softmax does not change if the same is added to all of its arguments, as
    `<u, g>` is to all `<u, l_i>`: masks of these scores, which the authors'
    code for residual networks has, are functions of the local features alone.
    `g` takes its parameters and its time all the same.

    Args:
        depth: Integer `6 * blocks + 4`, as of `WideResNet`.
        width: Positive integer, the factor on the channels.
        **ends: `input_shape`, `classes`, `include_top`,
            `classifier_activation` and `name`, as of `WideResNet`. Without
            `include_top` it ends in what the classifier reads, a vector.

    Example:

    >>> from paper_networks import WideResNetAtt2
    >>> network = WideResNetAtt2(depth=10, width=1, classes=5)
    >>> [network.get_layer(f"group{j}_masks").output.shape for j in (2, 3)]
    [(None, 256, 1), (None, 64, 1)]

    The paper says no more of it than that it attends after the groups "as
    in" the ICLR paper. What is chosen here:

    - Contexts of both maps are concatenated for one classifier, and scores
      parametrised (the ICLR paper's "concat-pc"), as in its authors' code for
      residual networks.
    - As there, local features are the groups' sums, not activated, and
      contexts are normalised and activated before the classifier.
    - `g` comes from two more 3x3 convolutions, a maximum over positions and a
      linear layer. There, a pooling and one convolution stand for the two;
      with two at full resolution, parameters and operations are those of
      Table 2, 64 million and 8.6 billion, as they are not with one.

    Reference:
        [Jetley et al., 2018](https://arxiv.org/abs/1804.02391)
    """
    ends = building.Ends(**ends)
    images = ends.images()
    groups = residual_groups(images, depth, width)
    summary = _global_feature(groups[-1])
    contexts = []
    for group in _ATTENDED_GROUPS:
        context = _context(groups[group - 1], summary, f"group{group}")
        contexts.append(building.activated(context, f"group{group}"))
    x = keras.layers.Concatenate(name="contexts")(contexts)
    return ends.model(images, x, f"wide_resnet_{depth}_{width}_att2")


def _global_feature(x):
    """What the whole image looks like, `(b, c)`, from the last sum."""
    channels = x.shape[building.channel_axis()]
    x = building.activated(x, "final")
    for i in range(1, _GLOBAL_CONVOLUTIONS + 1):
        x = building.conv(channels, 3, name=f"global_conv{i}")(x)
        x = building.activated(x, "global", i)
    x = keras.layers.GlobalMaxPooling2D(name="global_pool")(x)
    return keras.layers.Dense(channels, name="global")(x)


def _context(x, summary, name):
    """The mean of local features under their mask, `(b, c)`."""
    channels = x.shape[building.channel_axis()]
    if building.channel_axis() == 1:
        x = keras.layers.Permute((2, 3, 1), name=f"{name}_channels_last")(x)
    x = keras.layers.Reshape((-1, channels), name=f"{name}_locals")(x)
    if summary.shape[-1] != channels:
        summary = keras.layers.Dense(channels, name=f"{name}_global")(summary)
    summary = keras.layers.Reshape((1, channels), name=f"{name}_place")(summary)
    scores = keras.layers.Dense(1, use_bias=False, name=f"{name}_scores")(
        keras.layers.Add(name=f"{name}_sums")([x, summary])
    )
    masks = keras.layers.Softmax(axis=1, name=f"{name}_masks")(scores)
    context = keras.layers.Dot(1, name=f"{name}_mean")([masks, x])
    return keras.layers.Reshape((channels,), name=f"{name}_context")(context)
