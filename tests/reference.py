"""The paper's equations (1) to (8), transcribed to NumPy for the tests.

Written from the paper alone, in float64, with loops where they read best,
and on purpose without the shortcut of the library: the map of class scores
O of equation (2) is built for every position and head, then masked.

Letters: `b` batch, `h w` height and width, `c` channels, `k` attention
heads, `n` classes, `m` attention modules. Features Z are `(b, h, w, c)`,
masks H `(b, h, w, k)`, kernels `(kh, kw, c, out)`; in output kernels `out` is
`(k, n)` flattened, heads first.

Reference:

- [Attend and Rectify](https://arxiv.org/abs/1807.07320), sections 3.2 to 3.5
"""

import numpy as np


def convolve(features, kernel):
    """Slides the kernel over zero-padded features: `(b, h, w, out)`.

    Not flipped, as in every deep learning library: a cross-correlation.
    """
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


def softmax(x, axis=-1):
    """Positive numbers that sum to one over `axis` (an int or a tuple)."""
    # The shift by the maximum cancels; it only keeps `exp` from overflowing.
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def attention_heads(features, kernel, activation="softmax"):
    """Equation (1): `H = spatial_softmax(W_H * Z)`.

    Or the `"sigmoid"` that the paper mentions as a riskier choice.
    """
    scores = convolve(features, kernel)
    if activation == "sigmoid":
        return 1.0 / (1.0 + np.exp(-scores))
    return softmax(scores, axis=(1, 2))


def label_map(features, kernel, heads):
    """Equation (2): `O_k = W_O,k * Z`, class scores `(b, h, w, k, n)`."""
    scores = convolve(features, kernel)
    return scores.reshape(*scores.shape[:3], heads, -1)


def output_heads(features, masks, kernel):
    """Equation (3): `o_k = sum_xy H_k . O_k`, hypotheses `(b, k, n)`."""
    scores = label_map(features, kernel, heads=masks.shape[-1])
    return np.sum(masks[..., None] * scores, axis=(1, 2))


def head_gates(features, masks, kernel):
    """Equation (5): `g_H = softmax_k(tanh(sum_xy (W_g * Z) . H))`."""
    scores = np.sum(convolve(features, kernel) * masks, axis=(1, 2))
    return softmax(np.tanh(scores))


def global_gates(last_features, kernel, bound=np.tanh):
    """Equations (6) and (7): `g_O = softmax(tanh(W_G Z^L))`, `(b, m + 1)`.

    Of Z^L pooled over positions, `(b, c)`, and W_G, `(c, m + 1)`.
    """
    return softmax(bound(last_features @ kernel))


def combine(gates, outputs, combination="log_probabilities"):
    """Equation (8): `g_net output_net + sum_l g_l o_l`, `(b, n)`.

    The paper calls the outputs "class probability vectors" and its code
    sums log-probabilities; the latter sum is a score, not renormalised.
    `outputs` are `m + 1` logits `(b, n)`, the network's first, as its gate.
    """
    total = 0.0
    for gate, logits in zip(gates.T, outputs, strict=True):
        probabilities = softmax(logits)
        if combination == "log_probabilities":
            probabilities = np.log(probabilities)
        total = total + gate[:, None] * probabilities
    return total
