"""The paper's equations (1) to (8), transcribed to NumPy for the tests.

Written from the paper alone, in float64, with loops where they read best,
and on purpose without the shortcut of the library: the map of class scores
O of equation (2) is built for every position and head, then masked. What the
authors' published code adds to the paper stands at the end of the file.

Letters: `b` batch, `h w` height and width, `c` channels, `k` attention
heads, `n` classes, `m` attention modules. Arrays are channels last, kernels
`(kh, kw, c, out)`; in output kernels `out` is `(k, n)` flattened, heads
first.

Reference:

- [Attend and Rectify](https://arxiv.org/abs/1807.07320), sections 3.2 to 3.5
"""

import numpy as np


def convolve(features, kernel):
    """Slides the kernel over zero-padded features ("same" size out).

    Not flipped, as in every deep learning library: a cross-correlation.

    Args:
        features: `(b, h, w, c)`.
        kernel: `(kh, kw, c, out)` with odd `kh` and `kw`.

    Returns:
        `(b, h, w, out)`.
    """
    features = np.asarray(features, np.float64)
    kernel = np.asarray(kernel, np.float64)
    b, h, w, _ = features.shape
    kh, kw, _, out = kernel.shape
    top, left = kh // 2, kw // 2
    padded = np.pad(features, ((0, 0), (top, top), (left, left), (0, 0)))
    result = np.zeros((b, h, w, out))
    for y in range(h):
        for x in range(w):
            window = padded[:, y : y + kh, x : x + kw, :]
            result[:, y, x, :] = np.tensordot(window, kernel, axes=3)
    return result


def sigmoid(x):
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def softmax(x, axis=-1):
    """Positive numbers that sum to one over `axis` (an int or a tuple)."""
    x = np.asarray(x, np.float64)
    # The shift by the maximum cancels; it only keeps `exp` from overflowing.
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def log_softmax(x):
    """The logarithm of `softmax` over the last axis."""
    x = np.asarray(x, np.float64)
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def attention_heads(features, kernel, activation="softmax"):
    """Equation (1): `H = spatial_softmax(W_H * Z)`.

    Args:
        features: Z, `(b, h, w, c)`.
        kernel: W_H, `(kh, kw, c, k)`.
        activation: `"softmax"`, or the `"sigmoid"` that the paper mentions
            as a riskier choice.

    Returns:
        The masks H, `(b, h, w, k)`.
    """
    scores = convolve(features, kernel)
    if activation == "sigmoid":
        return sigmoid(scores)
    return softmax(scores, axis=(1, 2))


def label_map(features, kernel, heads):
    """Equation (2): `O_k = W_O,k * Z`, class scores at every position.

    Args:
        features: Z, `(b, h, w, c)`.
        kernel: W_O, `(kh, kw, c, k * n)`.
        heads: k.

    Returns:
        The map O, `(b, h, w, k, n)`.
    """
    scores = convolve(features, kernel)
    b, h, w, out = scores.shape
    return scores.reshape(b, h, w, heads, out // heads)


def output_heads(features, masks, kernel):
    """Equation (3): `o_k = sum_xy H_k . O_k`.

    Args:
        features: Z, `(b, h, w, c)`.
        masks: H, `(b, h, w, k)`.
        kernel: W_O, `(kh, kw, c, k * n)`.

    Returns:
        One hypothesis a head, `(b, k, n)`.
    """
    masks = np.asarray(masks, np.float64)
    scores = label_map(features, kernel, heads=masks.shape[-1])
    return np.sum(masks[..., None] * scores, axis=(1, 2))


def head_gates(features, masks, kernel):
    """Equation (5): `g_H = softmax_k(tanh(sum_xy (W_g * Z) . H))`.

    Args:
        features: Z, `(b, h, w, c)`.
        masks: H, `(b, h, w, k)`.
        kernel: W_g, `(kh, kw, c, k)`.

    Returns:
        The gates g_H, `(b, k)`; they sum to one over the heads.
    """
    masks = np.asarray(masks, np.float64)
    scores = np.sum(convolve(features, kernel) * masks, axis=(1, 2))
    return softmax(np.tanh(scores))


def gate_scores(last_features, kernel):
    """Equation (6): `c = tanh(W_G Z^L)`.

    Args:
        last_features: Z^L, pooled over positions, `(b, c)`.
        kernel: W_G, `(c, m + 1)`.

    Returns:
        The relevance scores, `(b, m + 1)`.
    """
    last_features = np.asarray(last_features, np.float64)
    return np.tanh(last_features @ np.asarray(kernel, np.float64))


def global_gates(last_features, kernel):
    """Equation (7): `g_O = softmax(c)` over the network and the modules.

    Args:
        last_features: Z^L, pooled over positions, `(b, c)`.
        kernel: W_G, `(c, m + 1)`.

    Returns:
        The gates g_O, `(b, m + 1)`; they sum to one.
    """
    return softmax(gate_scores(last_features, kernel))


def combine(gates, outputs, combination="log_probabilities"):
    """Equation (8): `g_net output_net + sum_l g_l o_l`.

    The paper calls the outputs "class probability vectors" and its code
    sums log-probabilities; the latter sum is a score, not renormalised.

    Args:
        gates: g_O, `(b, m + 1)`, the network's gate in column 0.
        outputs: A list of `m + 1` logits, each `(b, n)`, the network's
            first.
        combination: `"log_probabilities"` or `"probabilities"`.

    Returns:
        The output, `(b, n)`.
    """
    gates = np.asarray(gates, np.float64)
    normalise = softmax if combination == "probabilities" else log_softmax
    total = 0.0
    for index, logits in enumerate(outputs):
        total = total + gates[:, index : index + 1] * normalise(logits)
    return total


# What the authors' code adds to the paper, or does differently.


def average_pool(masks):
    """Means of 2x2 blocks, stride 2; an odd last row or column is dropped."""
    b, h, w, k = masks.shape
    result = np.zeros((b, h // 2, w // 2, k))
    for y in range(h // 2):
        for x in range(w // 2):
            block = masks[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2, :]
            result[:, y, x, :] = np.mean(block, axis=(1, 2))
    return result


def mask_diversity(masks, pool=1):
    """The overlap of different masks, without its weight.

    Args:
        masks: H, `(b, h, w, k)`.
        pool: 2 to average 2x2 blocks of positions first, 1 not to.

    Returns:
        The mean over `b * k * k` entries of the squared Gram matrix of the
        masks, its diagonal set to zero (and counted in the mean).
    """
    masks = np.asarray(masks, np.float64)
    if pool == 2:
        masks = average_pool(masks)
    b, _, _, k = masks.shape
    total = 0.0
    for example in range(b):
        for i in range(k):
            for j in range(k):
                if i != j:
                    overlap = np.sum(
                        masks[example, :, :, i] * masks[example, :, :, j]
                    )
                    total += overlap**2
    return total / (b * k * k)


def normalised_gate_scores(
    last_features, kernel, gamma, beta, mean, variance, epsilon
):
    """Equation (6) with a batch normalisation before the tanh (inference).

    Args:
        last_features: Z^L, pooled over positions, `(b, c)`.
        kernel: W_G, `(c, m + 1)`.
        gamma: Scale, `(m + 1,)`.
        beta: Shift, `(m + 1,)`.
        mean: Moving mean, `(m + 1,)`.
        variance: Moving variance, `(m + 1,)`.
        epsilon: Added to the variance.

    Returns:
        The relevance scores, `(b, m + 1)`.
    """
    last_features = np.asarray(last_features, np.float64)
    scores = last_features @ np.asarray(kernel, np.float64)
    deviation = np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return np.tanh(gamma * (scores - mean) / deviation + beta)


def sigmoid_gates(scores):
    """Equation (7) with sigmoids, divided by (1e-6 + their sum).

    Args:
        scores: The relevance scores c, `(b, m + 1)`.

    Returns:
        The gates, `(b, m + 1)`; they sum to a little less than one.
    """
    gates = sigmoid(scores)
    return gates / (1e-6 + np.sum(gates, axis=-1, keepdims=True))
