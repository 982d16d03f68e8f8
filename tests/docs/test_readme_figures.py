"""The figures that the README shows are those of the files that they were taken from."""

import math
from statistics import median

from bodies import DEFAULT
from conftest import MODELS, ROOT

from bench.output import read_figures
from bench.serving.report import Report
from bench.serving.rounds import ratio as ratio_to
from bench.serving.table import shares_of_engine
from cifar_models.bundle import read_manifest

README = (ROOT / "README.md").read_text()
ROUNDS = read_figures(Report, ROOT / "docs" / "benchmarks" / "serving.json", "bench.serving").rounds
CROWDS = (32, 128)  # connections


def test_the_accuracy_is_that_of_the_file_that_answers() -> None:
    artifact = read_manifest(MODELS / DEFAULT).find("onnx-int8")
    assert artifact is not None
    (accuracy,) = (each.accuracy for each in artifact.evaluations if each.split == "test")
    assert f"| {100 * accuracy:.1f} % |" in README


def test_the_ratios_are_the_lower_ones_of_both_crowds() -> None:
    assert f"| {ratio('fastapi'):.1f} times | as many pictures a second as FastAPI" in README
    assert f", {ratio('documented'):.1f} times as many as BentoML's batching as documented" in README


def test_the_share_of_the_engine_is_that_of_the_run() -> None:
    share = min(1.0, median(shares_of_engine(ROUNDS)))  # the machine's pace may change between a server and its limit
    assert f"| {share:.0%} |".replace("%", " %") in README


def ratio(other: str) -> float:
    """Right answers a second, ours divided by the other's, cut to a decimal."""
    return math.floor(10 * min(ratio_to(ROUNDS, other, crowd) or 0 for crowd in CROWDS)) / 10
