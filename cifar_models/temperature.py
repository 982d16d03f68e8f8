"""The temperature that makes a network's confidence honest (Guo et al. 2017)."""

import numpy as np

from cifar_models.metrics import Floats, Labels

_SMALLEST_INVERSE = 0.05  # temperature 20: a network that knows nothing has no finite optimum
_LARGEST_INVERSE = 20.0  # nor has one that is never wrong


def softmax(logits: Floats) -> Floats:
    """Along the last axis, in float64."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    probabilities: Floats = shifted / shifted.sum(-1, keepdims=True)
    return probabilities


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature that minimises the negative log likelihood of held-out logits [n, classes].

    Newton's method on the inverse temperature, in which the likelihood is convex.
    """
    logits = logits.astype(np.float64)
    chosen = logits[np.arange(len(labels)), labels].mean()
    inverse = 1.0
    for _ in range(100):
        probabilities = softmax(inverse * logits)
        mean = (probabilities * logits).sum(1)
        curvature = ((probabilities * logits**2).sum(1) - mean**2).mean()
        step = (mean.mean() - chosen) / max(curvature, 1e-12)
        inverse -= float(np.clip(step, -inverse, inverse / 2))  # never past 0
        inverse = min(max(inverse, _SMALLEST_INVERSE), _LARGEST_INVERSE)
        if abs(step) < 1e-9:
            break
    return 1 / inverse
