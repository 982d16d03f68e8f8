"""docs/benchmarks.md is filled from figures, and so are its pictures; the commands that measure them write them."""

import argparse
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, command
from pydantic import TypeAdapter

from bench.growth import Growth, Point
from bench.output import output, read_figures, write_figures
from bench.page import fill
from bench.pareto.measure import Point as Pareto
from bench.pareto.page import render
from bench.serving.machine import describe_machine
from bench.serving.open_loop import OpenLoop
from bench.serving.report import Report
from bench.serving.rounds import CONNECTIONS, Round, Turn
from bench.serving.server import OURS, SERVERS, Memory, Startup
from bench.serving.sweep import Sweep
from bench.serving.wrk import ClosedLoop
from cifar_models.errors import InputError
from serving.settings import available_cores, load_settings

pytestmark = pytest.mark.usefixtures("default_bundle_alone")

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="needs the program wrk, of the package wrk")


def closed(connections: int, rate: float) -> ClosedLoop:
    return ClosedLoop(connections, rate, 1.0, 2.0, 0.5, 0, 0, {"200": 10})


def opened(rate: float) -> OpenLoop:
    return OpenLoop("phase", rate, rate, 1.0, 2.0, {"200": 10}, 0, 0.1)


@pytest.fixture
def report() -> Report:
    """Beside each of the others ours answers twice as many, though not by the medians of all turns."""
    paces = {name: 400.0 / number for number, name in enumerate(SERVERS, start=1) if name != OURS}
    starts = {name: Startup(1.0, 1.5, Memory(200, None, 100)) for name in SERVERS}
    asked = [turn for pace in paces.items() for turn in trio(*pace)]
    turns = [Turn(name, closed(many, rate)) for many in CONNECTIONS for name, rate in asked]
    sweep = Sweep(800, {name: [opened(most / 2), opened(most)] for name, most in ((OURS, 800.0), *paces.items())})
    return Report(describe_machine(), {}, [Round([{1: 1000.0, 64: 2000.0}], starts, turns)], None, sweep)


def trio(other: str, rate: float) -> list[tuple[str, float]]:
    return [(OURS, 2 * rate), (other, rate), (OURS, 2 * rate)]


@pytest.fixture
def growth() -> Growth:
    curve = [Point("1", 100, 1, 2, 0, 400), Point("64", 1000, 10, 20, 3, 60)]
    return Growth(describe_machine(), 4, dict.fromkeys(("images", "batch", "model", "workers"), curve))


def test_reports_are_read_as_they_were_written(tmp_path: Path, report: Report, growth: Growth) -> None:
    write_figures(report, tmp_path / "serving.json")
    write_figures(growth, tmp_path / "growth.json")
    assert read_figures(Report, tmp_path / "serving.json", "bench.serving") == report
    assert read_figures(Growth, tmp_path / "growth.json", "bench.growth") == growth


def test_the_page_is_filled_and_the_pictures_drawn(tmp_path: Path, report: Report, growth: Growth) -> None:
    write_figures(report, tmp_path / "benchmarks" / "serving.json")
    write_figures(growth, tmp_path / "benchmarks" / "growth.json")
    before = (ROOT / "docs" / "benchmarks.md").read_text()
    command("bench.page", "--out", tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert f"| FastAPI + ONNX Runtime, no batching |{' 2.00 |' * len(CONNECTIONS)}" in page
    assert "| 64 | 1000 | 10.0 | 20.0 (of 60) | 3 |" in page
    for name in ("ratios", "throughput", "latency", "growth"):
        assert f"(benchmarks/{name}.svg)" in page
        assert (tmp_path / "benchmarks" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "benchmarks" / f"{name}.svg").read_text()
    # What was not measured stays: here the overload, and all prose.
    overload = before[before.index("<!-- open -->") : before.index("<!-- /open -->")]
    assert overload in page


def test_the_page_that_is_committed_is_that_of_its_figures(tmp_path: Path) -> None:
    """A page without figures is left as it is, so this holds before the first `make bench` too."""
    if (ROOT / "docs" / "benchmarks").exists():
        shutil.copytree(ROOT / "docs" / "benchmarks", tmp_path / "benchmarks")
    command("bench.page", "--out", tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == (ROOT / "docs" / "benchmarks.md").read_text()


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(InputError, match=r"no place <!-- closed --> \.\.\. <!-- /closed -->"):
        fill("# Benchmarks\n", {"closed": "| a |"})


@pytest.mark.parametrize(
    ("module", "option"),
    [("bench.serving", "--json"), ("bench.growth", "--json"), ("bench.engines", "--json"), ("bench.tune", "--out")],
)
def test_a_folder_for_the_figures_is_refused_before_they_are_measured(module: str, option: str, tmp_path: Path) -> None:
    done = command(module, option, tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: argument {option}: '{tmp_path}' is a folder; name a file")


def test_a_file_that_cannot_be_written_is_refused_before_it_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(argparse.ArgumentTypeError, match=r"cannot be written \(File exists\); name another file"):
        output(str(tmp_path / "file" / "figures.json"))
    assert output(str(tmp_path / "new" / "figures.json")) == tmp_path / "new" / "figures.json"
    assert list((tmp_path / "new").iterdir()) == []


def test_a_page_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command("bench.page", "--out", tmp_path / "file", check=False)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path / 'file' / 'benchmarks.md'} cannot be written (File exists); "
        "what was there before is intact.\n",
    )


def test_an_unknown_part_is_refused() -> None:
    done = command("bench", "nonsense", check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: There is no part 'nonsense'. There are: serving, growth, training.\n",
    )


@needs_wrk
def test_growth_is_measured_by_the_command(tmp_path: Path) -> None:
    done = command("bench.growth", "--only", "workers", "--seconds", "1", "--json", tmp_path / "growth.json")
    (points,) = json.loads((tmp_path / "growth.json").read_text())["curves"].values()
    assert [point["value"] for point in points] == [str(count) for count in range(1, available_cores() + 1)]
    for point in points:
        assert 0 < point["p50_ms"] <= point["p99_ms"]
        assert f"| {point['value']} | {point['images_per_second']:.0f} |" in done.stdout


def test_training_is_measured_in_whole_batches_of_the_images_that_there_are(tiny_data: Path, tmp_path: Path) -> None:
    done = command("bench.training", "--data", tiny_data, "--rounds", "1", "--json", tmp_path / "training.json")
    found = json.loads((tmp_path / "training.json").read_text())
    assert json.loads(done.stdout) == found
    assert found["images"] == 128  # of 200
    assert found["machine"]["date"]
    for kinds in ("loading pixels", "loading normalised", "resnet20 epoch"):
        assert found[kinds]["ours"]["images per second"] > 0


def test_tuning_writes_the_settings_that_the_server_reads(tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    search = ("--search", "workers", "--seconds", "0.3", "--p99-ms", "2000")
    done = command("bench.tune", *search, "--out", file)
    assert f"CIFAR_SETTINGS={file} bentoml serve" in done.stdout
    settings = load_settings({"CIFAR_SETTINGS": str(file)})
    assert 1 <= settings.workers <= available_cores()
    assert f"| {settings.workers} | {settings.threads} | {settings.max_batch} |" in done.stdout


def test_a_bound_that_cannot_be_kept_is_refused() -> None:
    done = command("bench.tune", "--p99-ms", "nan", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument --p99-ms: 'nan' is no finite number above 0")


def test_the_page_of_architectures_that_is_committed_is_that_of_its_figures() -> None:
    found = json.loads((ROOT / "docs" / "pareto.json").read_text())
    points = TypeAdapter(list[Pareto]).validate_python(found["points"])
    assert render(points, found["machine"], 2) == (ROOT / "docs" / "pareto.md").read_text()
