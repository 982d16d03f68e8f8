"""The ways in which a file is compared: a manifest is proof when it names every one of them."""

from enum import StrEnum


class Comparison(StrEnum):
    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LABELS = "labels"
    ACCURACIES = "accuracies"
    EXTREME_LOGITS = "extreme logits"
    EXTREME_PROBABILITIES = "extreme probabilities"
    BATCH_SIZES = "batch sizes"
    NEIGHBOURS = "neighbours"
    LAYOUTS = "memory layouts"
    RUNS = "runs"
    THREADS = "thread counts"
    WRONG_INPUTS = "wrong inputs answered"


# Of the weights rounded to float16 with the checkpoint: both are run in the same way.
ROUNDED = frozenset({Comparison.LOGITS, Comparison.PROBABILITIES, Comparison.LABELS, Comparison.ACCURACIES})
EVERY = frozenset(Comparison)
