"""The report as Markdown and as JSON."""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from bench.engines import BATCH
from bench.report.corruptions import CORRUPTIONS
from bench.report.measure import MeasuredBundle, MeasuredFile
from cifar_models.manifest import numbers_in_one_line
from cifar_models.metrics import wilson_interval
from export.figures import Rows, as_markdown, interval

MAX_BYTES = 40_000_000  # of all bundles together: every version of them stays in the repository's history


def as_json(measured: Sequence[MeasuredBundle], machine: dict[str, Any]) -> str:
    """Everything that was measured, for programs."""
    found = {
        "machine": machine,
        "bytes": sum(bundle.bytes for bundle in measured),
        "corruptions": {
            name: {"severities": corruption.severities, "unit": corruption.unit}
            for name, corruption in CORRUPTIONS.items()
        },
        "bundles": {bundle.bundle.folder.name: bundle_as_json(bundle) for bundle in measured},
    }
    return numbers_in_one_line(json.dumps(found, indent=2)) + "\n"


def bundle_as_json(measured: MeasuredBundle) -> dict[str, Any]:
    return {
        "temperature": measured.bundle.manifest.temperature,
        "sharpening": measured.bundle.manifest.sharpening,
        "bytes": measured.bytes,
        "served": measured.served.artifact.file,
        "images_per_second": round(measured.images_per_second),
        "threads": measured.threads,
        "robustness": measured.robustness,
        "files": {file.artifact.file: file_as_json(file) for file in measured.files},
    }


def file_as_json(file: MeasuredFile) -> dict[str, Any]:
    return {
        **file.test.model_dump(),
        "accuracy_interval_95": wilson_interval(file.test.accuracy, file.test.images),
        "selective": file.selection.model_dump() if file.selection else None,
        "bytes": file.artifact.bytes,
    }


def summary_table(measured: Sequence[MeasuredBundle]) -> Rows:
    """A row for each bundle: the file that a processor is given."""
    head = ["bundle", "parameters", "test accuracy", "95 %", "ECE", "NLL", "confident", "right of those"]
    return [
        [*head, "images/s", "MB, all files"],
        *(
            [
                bundle.bundle.folder.name,
                f"{bundle.bundle.manifest.parameters:,}",
                *accuracy_cells(bundle.served),
                f"{bundle.images_per_second:,.0f}",
                f"{bundle.bytes / 1e6:.1f}",
            ]
            for bundle in measured
        ),
    ]


def accuracy_cells(file: MeasuredFile) -> list[str]:
    found, selection = file.test, file.selection
    confident = [f"{selection.coverage:.2%}", f"{selection.precision:.2%}"] if selection else ["", ""]
    return [f"{found.accuracy:.2%}", interval(found), f"{found.ece:.2%}", f"{found.nll:.4f}", *confident]


def describe_size(measured: Sequence[MeasuredBundle]) -> str:
    total = sum(bundle.bytes for bundle in measured)
    return f"All bundles together: {total / 1e6:.1f} MB, of at most {MAX_BYTES / 1e6:.0f}."


def render(measured: Sequence[MeasuredBundle], machine: dict[str, Any], pictures: dict[str, dict[str, str]]) -> str:
    """`pictures` are paths from the page, by bundle and by what they show."""
    first = measured[0].served.test
    return f"""# Models: what the bundles are worth

Made by `make report`; do not edit. The shipped files, measured on the {first.images:,} test images of **{first.data}**,
one view each. Epoch, calibration and threshold were chosen on validation images; the test images chose nothing.
What was known of their figures when something else was tried, stands in [experiments.md](experiments.md).
{describe_machine(machine)}

{as_markdown(summary_table(measured))}

The figures are those of the file that a processor is given: int8, where the bundle has it; images/s in batches of
{BATCH} with {measured[0].threads} threads. ECE: expected calibration error, 15 bins, calibrated. NLL: nats.
Confident: the share of the answers that the server marks so. {describe_size(measured)}
`models.json` has it all for programs.

{"".join(render_bundle(bundle, pictures[bundle.bundle.folder.name]) for bundle in measured)}
## Corruptions

They are ours, seeded, and **not CIFAR-10-C**: no figure here can be compared with one of that benchmark. The images
are JPEG before anything is done to them, so `jpeg` is the second time.

{as_markdown(corruption_table())}
"""


def describe_machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    where = f"{machine['cores']} cores ({machine['cpu']}, load {machine['load'][0]} before)"
    return f"Measured {machine['date'][:10]} on {where}, {versions}, source `{machine['revision']}`."


def render_bundle(measured: MeasuredBundle, pictures: dict[str, str]) -> str:
    name, served, manifest = measured.bundle.folder.name, measured.served, measured.bundle.manifest
    shown = "\n".join(f"![{name}: {what}]({PurePosixPath(path)})" for what, path in pictures.items())
    return f"""## {name}

Temperature {manifest.temperature:.4f}, sharpening {manifest.sharpening:.4f}. How it was made,
and how its files agree, is in its [model card](../models/{name}/README.md).

{as_markdown(file_table(measured))}

Share of each label's images that `{served.artifact.file}` answers right:

{as_markdown(label_table(measured))}

Accuracy on corrupted test images, by severity:

{as_markdown(robustness_table(measured))}

{shown}

"""


def file_table(measured: MeasuredBundle) -> Rows:
    head = ["file", "test accuracy", "95 %", "ECE", "NLL", "confident", "right of those", "bytes"]
    rows = [[f"`{file.artifact.file}`", *accuracy_cells(file), f"{file.artifact.bytes:,}"] for file in measured.files]
    return [head, *rows]


def label_table(measured: MeasuredBundle) -> Rows:
    return [measured.bundle.manifest.labels, [f"{right:.1%}" for right in measured.served.test.class_accuracies or []]]


def robustness_table(measured: MeasuredBundle) -> Rows:
    rows = [[name, *(f"{right:.1%}" for right in found)] for name, found in measured.robustness.items()]
    means = [sum(found) / len(found) for found in zip(*measured.robustness.values(), strict=True)]
    return [["corruption", "1", "2", "3"], *rows, ["mean", *(f"{right:.1%}" for right in means)]]


def corruption_table() -> Rows:
    rows = [
        [name, *(f"{severity:g}" for severity in corruption.severities), corruption.unit]
        for name, corruption in CORRUPTIONS.items()
    ]
    return [["corruption", "1", "2", "3", "what the numbers are"], *rows]
