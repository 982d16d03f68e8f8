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


# Of the weights rounded to float16 with the checkpoint: both are run in the same way.
ROUNDED = frozenset({Comparison.LOGITS, Comparison.PROBABILITIES, Comparison.LABELS, Comparison.ACCURACIES})
EVERY = frozenset(Comparison)
# How far outputs are from the reference's.
LOGITS = frozenset({Comparison.LOGITS, Comparison.EXTREME_LOGITS})
PROBABILITIES = frozenset({Comparison.PROBABILITIES, Comparison.EXTREME_PROBABILITIES})
STABILITY = frozenset(
    {Comparison.BATCH_SIZES, Comparison.NEIGHBOURS, Comparison.LAYOUTS, Comparison.RUNS, Comparison.THREADS}
)
