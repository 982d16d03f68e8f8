"""Measure every bundle again, from its files and the test images: python -m bench.report [--data DIR] (make report)."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report.charts import write_charts
from bench.report.differences import differences
from bench.report.measure import MeasuredBundle, measure
from bench.report.page import MAX_BYTES, as_json, describe_size, render, summary_table
from bench.serving.machine import describe_machine
from cifar_models.atomic import saving
from cifar_models.bundle import MANIFEST, Bundle, BundleError, open_bundle
from cifar_models.command import Parser, amount, run_command
from cifar_models.dataset import ImageSet, load_images
from cifar_models.errors import InputError
from export.figures import as_text
from export.remeasure import check_test_images


def main() -> int:
    options = parse_options()
    found = describe_machine()  # first of all, as it states the load
    machine = {name: found[name] for name in ("date", "cpu", "cores", "load", "python", "versions", "revision")}
    try:
        bundles = open_bundles(options.bundles)
        test = load_images(options.data, "test")
        for bundle in bundles:
            check_test_images(bundle, test)
        measured = [measure_aloud(bundle, test, options.seconds) for bundle in bundles]
    except BundleError as error:
        print(f"wrong: {error}")
        return 1
    print(f"\n{as_text(summary_table(measured))}\n\n{describe_size(measured)}")
    wrong = [line for bundle in measured for line in differences(bundle)]
    if sum(bundle.bytes for bundle in measured) > MAX_BYTES:
        wrong.append("The bundles are larger than they may be; leave out a format or a bundle.")
    for line in wrong:
        print(f"wrong: {line}")
    if wrong:
        return 1
    write_report(measured, machine, options.out)
    print(f"The whole report: {options.out / 'models.md'}")
    return 0


def parse_options() -> argparse.Namespace:
    parser = Parser(
        prog="python -m bench.report",
        description="Measure every bundle again from its files, and write models.md, models.json and pictures. "
        "Ends with 1, and writes nothing, when a figure is not that of the bundle's manifest.",
    )
    data = Path(os.environ.get("CIFAR_DATA", "data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the images (default: $CIFAR_DATA, or data)")
    parser.add_argument("--bundles", type=Path, default=Path("models"), help="folder of the bundles (default: models)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the report (default: docs)")
    parser.add_argument("--seconds", type=amount, default=2, help="of each of five timings of a bundle (default: 2)")
    return parser.parse_args()


def open_bundles(folder: Path) -> list[Bundle]:
    """Raises BundleError when one is not what its manifest says, and InputError when there is none."""
    folders = sorted(path.parent for path in folder.glob(f"[!.]*/{MANIFEST}"))
    if not folders:
        raise InputError(f"{folder} holds no bundle; `python -m export` makes one, and --bundles names another folder.")
    return [open_bundle(path) for path in folders]


def measure_aloud(bundle: Bundle, test: ImageSet, seconds: float) -> MeasuredBundle:
    print(f"{bundle.folder}: {len(bundle.manifest.artifacts)} files, {len(test):,} images", flush=True)
    return measure(bundle, test, seconds=seconds)


def write_report(measured: Sequence[MeasuredBundle], machine: dict[str, Any], folder: Path) -> None:
    """Pictures first: a page that is there shows pictures that are."""
    pictures = {}
    for bundle in measured:
        files = write_charts(bundle, folder / "models")
        pictures[bundle.bundle.folder.name] = {what: f"models/{file}" for what, file in files.items()}
    texts = {
        "models.json": as_json(measured, machine),
        "models.md": render(measured, machine, pictures),
    }
    for name, text in texts.items():
        with saving(folder / name) as partial:
            partial.write_text(text)


if __name__ == "__main__":
    run_command(main)
