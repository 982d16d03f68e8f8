"""What makes a network's confidence honest: a temperature, that falls where the best label is well ahead."""

from dataclasses import dataclass

import numpy as np

from cifar_models.metrics import Floats, Labels

_SMALLEST_INVERSE = 0.05  # temperature 20: a network that knows nothing has no finite optimum
_LARGEST_INVERSE = 20.0  # nor has one that is never wrong
_SIGNIFICANT = 3.841  # of a likelihood ratio with one degree of freedom, at 2.5 % as it is one-sided (Wilks 1938)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probabilities are the softmax of logits times `1 / temperature + sharpening * margin`.

    The margin is that of the largest logit over the second. Without sharpening this is the temperature of Guo et al.
    2017. A network that has learned its training images by heart needs more: it is too sure of what it half knows, and
    not of what it knows, and one temperature mends the one at the other's cost. No label changes, as no factor is
    below 0.
    """

    temperature: float = 1.0  # above 0
    sharpening: float = 0.0  # of the inverse temperature, for a margin of 1; 0 or above

    def probabilities(self, logits: Floats) -> Floats:
        """Float64 [n, classes] of logits [n, classes]."""
        return softmax(logits * (1 / self.temperature + self.sharpening * margins(logits)))

    @property
    def steepness(self) -> float:
        """How much more a probability of two labels moves than at temperature 1, where it moves most with a logit.

        Of more labels, sharpening can move it more; a gate that goes by this is the stricter one.
        """
        margin = np.linspace(0, 50, 5001)
        apart = margin * (1 / self.temperature + self.sharpening * margin)
        slopes = (1 / self.temperature + 2 * self.sharpening * margin) / np.cosh(np.minimum(apart, 700) / 2) ** 2
        return float(slopes.max())


def softmax(logits: Floats) -> Floats:
    """Along the last axis, in float64."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    probabilities: Floats = shifted / shifted.sum(-1, keepdims=True)
    return probabilities


def margins(logits: Floats) -> Floats:
    """By how much each row's largest of [n, classes] is above its second: [n, 1]."""
    best = np.partition(logits, -2, axis=1)
    ahead: Floats = best[:, -1:] - best[:, -2:-1]
    return ahead


def fit_calibration(logits: Floats, labels: Labels) -> Calibration:
    """The calibration that minimises the negative log likelihood of held-out logits [n, classes].

    With sharpening only where the images are enough to tell it from chance.
    """
    logits = logits.astype(np.float64)
    plain, plain_loss = fit_factors(logits[None], labels)
    both, loss = fit_factors(np.stack([logits, logits * margins(logits)]), labels)
    inverse, sharpening = both if 2 * len(labels) * (plain_loss - loss) > _SIGNIFICANT else (*plain, 0.0)
    return Calibration(1 / float(inverse), float(sharpening))


def fit_factors(terms: Floats, labels: Labels) -> tuple[Floats, float]:
    """The factors of `terms` [k, n, classes] whose sum is the most likely as logits, and its loss.

    Newton's method within bounds: the loss is convex in the factors.
    """
    lower, upper = np.zeros(len(terms)), np.full(len(terms), _LARGEST_INVERSE)
    lower[0] = _SMALLEST_INVERSE
    factors = np.eye(len(terms))[0]
    loss, gradient, curvature = differentiate(factors, terms, labels)
    for _ in range(100):
        free = np.flatnonzero(np.where(gradient > 0, factors > lower, factors < upper))
        step = np.zeros(len(terms))
        step[free] = np.linalg.lstsq(curvature[np.ix_(free, free)], gradient[free], rcond=None)[0]
        moved = np.clip(factors - step, lower, upper)
        while (new := differentiate(moved, terms, labels))[0] > loss:
            step /= 2
            moved = np.clip(factors - step, lower, upper)
        done = np.abs(moved - factors).max() < 1e-9
        factors, (loss, gradient, curvature) = moved, new
        if done:
            break
    return factors, loss


def differentiate(factors: Floats, terms: Floats, labels: Labels) -> tuple[float, Floats, Floats]:
    """The negative log likelihood of the labels, its gradient [k] and its curvature [k, k] in the factors."""
    logits = np.tensordot(factors, terms, axes=1)
    probabilities, rows = softmax(logits), np.arange(len(labels))
    mean = (probabilities * terms).sum(-1)
    gradient = (mean - terms[:, rows, labels]).mean(1)
    curvature = np.einsum("inc,jnc->ij", probabilities * terms, terms) / len(labels) - mean @ mean.T / len(labels)
    largest = logits.max(1)
    loss = np.log(np.exp(logits - largest[:, None]).sum(1)) + largest - logits[rows, labels]
    return float(loss.mean()), gradient, curvature
