"""How good probabilities are, and the temperature that makes them honest (Guo et al. 2017)."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

_SMALLEST_INVERSE = 0.05  # temperature 20: a network that knows nothing has no finite optimum


def softmax(logits: Floats) -> Floats:
    """Along the last axis, in float64."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    probabilities: Floats = shifted / shifted.sum(-1, keepdims=True)
    return probabilities


def accuracy(probabilities: Floats, labels: Labels) -> float:
    """Share of rows [n, classes] whose largest entry is that of the label [n]."""
    return float((probabilities.argmax(1) == labels).mean())


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean over rows, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())


def expected_calibration_error(probabilities: Floats, labels: Labels, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equally wide bins of confidence, weighted by their size."""
    confidence = probabilities.max(1).astype(np.float64)
    correct = probabilities.argmax(1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


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
        inverse = max(inverse - float(np.clip(step, -0.5 * inverse, inverse)), _SMALLEST_INVERSE)
        if abs(step) < 1e-9:
            break
    return 1 / inverse
