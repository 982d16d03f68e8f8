"""A manifest's figures as tables: a row for each thing measured, a column for each file."""

from collections.abc import Callable, Sequence

from cifar_models.manifest import Check, Evaluation, Manifest, Parity, Selective, Split, Unproved
from cifar_models.metrics import wilson_interval
from export.comparison import Comparison

Rows = list[list[str]]


def accuracy_table(manifest: Manifest) -> Rows:
    """What each file gets right, split by split, and how honest its probabilities are."""
    rows = [["", *(artifact.key for artifact in manifest.artifacts)]]
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        shown: dict[str, Callable[[Evaluation], str]] = {
            "accuracy": lambda found: f"{found.accuracy:.2%}",
            "95 % interval": interval,
            "ECE": lambda found: f"{found.ece:.2%}",
            "NLL": lambda found: f"{found.nll:.4f}",
        }
        for name, show in shown.items():
            found = [artifact.evaluation(split) for artifact in manifest.artifacts]
            rows.append([f"{split} {name}", *(show(one) if one else "" for one in found)])
    # Not as `size_text` has it: a card is held to this table for ever, and those of before have small files in MB too.
    return [*rows, ["size", *(f"{artifact.bytes / 1e6:.1f} MB" for artifact in manifest.artifacts)]]


def selective_table(manifest: Manifest) -> Rows:
    """From which probability on each file's answer is confident, how often it is, and how often it is right then."""
    columns = {artifact.key: artifact.selective for artifact in manifest.artifacts}
    shown: dict[str, Callable[[Selective], str]] = {
        "threshold": lambda found: f"{found.threshold:.4f}",
        "validation: confident": lambda found: f"{found.validation.coverage:.2%}",
        "validation: right of those": lambda found: f"{found.validation.precision:.2%}",
        "test: confident": lambda found: f"{found.test.coverage:.2%}" if found.test else "",
        "test: right of those": lambda found: f"{found.test.precision:.2%}" if found.test else "",
    }
    rows = [
        [name, *("none" if found is None else show(found) for found in columns.values())]
        for name, show in shown.items()
    ]
    return [["", *columns], *rows]


def confusion_table(evaluation: Evaluation, labels: Sequence[str]) -> Rows:
    """A row for each label: its accuracy, and how many of its images got which answer."""
    confusion, accuracies = evaluation.confusion or [], evaluation.class_accuracies or []
    rows = zip(labels, accuracies, confusion, strict=True)
    return [
        ["label", "right", *labels],
        *([label, f"{right:.1%}", *map(str, counts)] for label, right, counts in rows),
    ]


def parity_table(manifest: Manifest) -> Rows:
    """What each file differs by from eager PyTorch, float32, on the CPU, check by check."""
    columns: dict[str, Parity | Unproved] = {artifact.key: artifact.parity for artifact in manifest.artifacts}
    for artifact in manifest.artifacts:
        on_cuda: list[Parity | Unproved] = [*artifact.cuda_parity, *artifact.cuda_unproved]
        columns |= {f"{artifact.key}, CUDA {found.arithmetic}": found for found in on_cuda}
    rows = [[name, *(cell(found, name) for found in columns.values())] for name in Comparison]
    return [
        ["largest difference", *columns],
        *(row for row in rows if any(row[1:])),  # bundles of before were not compared in every way
        ["computed by", *(found.provider if isinstance(found, Parity) else "not proved" for found in columns.values())],
    ]


def cell(found: Parity | Unproved, name: str) -> str:
    checks = found.checks if isinstance(found, Parity) else []
    return next((show(check) for check in checks if check.name == name), "")


def show(check: Check) -> str:
    if check.name in (Comparison.LABELS, Comparison.ACCURACIES, Comparison.WRONG_INPUTS):
        return f"{check.difference:.2%}"
    return f"{check.difference:.1e}" if check.difference else "0"


def interval(found: Evaluation) -> str:
    low, high = wilson_interval(found.accuracy, found.images)
    return f"{low:.2%} to {high:.2%}"


def size_text(size: int) -> str:
    """Of a file, from bytes."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def as_text(rows: Rows) -> str:
    """Columns of equal width, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_markdown(rows: Rows) -> str:
    head, *body = ([escape(cell) for cell in row] for row in rows)
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(cell: str) -> str:
    """A label may hold what ends a cell."""
    return cell.replace("|", r"\|")
