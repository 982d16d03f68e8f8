"""`python -m bench.gpu` on the CPU in miniature: what will run on a GPU's day, but for the device."""

import json
import re
import socket
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Barrier
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, command

from bench.gpu import callers, parity, service, training
from bench.gpu.__main__ import attempt, main
from bench.gpu.context import Context
from bench.gpu.environment import copy_bytes
from bench.gpu.page import render
from bench.gpu.record import Outcome, Record, Report, read_report
from bench.gpu.steps import STEPS
from bench.gpu.training import folder_of
from bench.serving.server import HOST, OURS, SERVERS
from bench.serving.workload import Workload
from cifar_models.errors import InputError
from cifar_models.manifest import Arithmetic
from serving.settings import available_cores

pytestmark = pytest.mark.usefixtures("default_bundle_alone")

RECIPE = "seed003-lenet"
RUN = ("environment", "profile", "engine", "service", "parity", RECIPE)
MINIATURE = ("--device", "cpu", "--miniature", "--data-name", "tiny")
ENGINES = {"onnxruntime-cpu-fp32", "torchscript-cpu-fp32"}


@pytest.fixture(scope="module")
def folder(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves."""
    folder = tmp_path_factory.mktemp("gpu")
    ask(folder, tiny_data, *RUN)
    return folder


def ask(folder: Path, data: Path, *arguments: str) -> str:
    """What it says while it runs."""
    return command(
        "bench.gpu", *MINIATURE, "--data", data, "--out", folder, "--work", folder / "work", *arguments
    ).stderr


def figures(folder: Path, step: str) -> Any:
    record = json.loads((folder / "gpu.json").read_text())["steps"][step]
    assert record["status"] == "done", record["missing"]
    assert record["machine"]["date"]
    assert record["machine"]["versions"]
    return record["figures"]


def test_the_environment_says_who_computes_and_how_fast(folder: Path) -> None:
    found = figures(folder, "environment")
    assert found["ONNX Runtime runs on"] == "CPUExecutionProvider"
    assert found["TorchScript runs on"] == "torch on the CPU"
    assert min(found["bf16_flops"], found["fp32_flops"], found["bytes_per_second"]) > 0


def test_a_training_step_is_profiled(folder: Path) -> None:
    found = figures(folder, "profile")
    assert found["images_per_second"] == pytest.approx(found["batch"] / found["step_seconds"])
    assert sum(found["kernel_seconds"].values()) > 0
    assert "## A training step" in (folder / "gpu.md").read_text()


def test_what_ran_beside_a_step_and_what_made_its_figures_is_said_with_them(folder: Path, tiny_data: Path) -> None:
    ask(folder, tiny_data, "environment", "--again", "--beside", "a cat video", "--by", "a run elsewhere")
    assert ", beside a cat video, by a run elsewhere |" in (folder / "gpu.md").read_text()


def test_the_matrices_are_as_large_as_is_said(folder: Path) -> None:
    assert "| bfloat16 matrix product, 256 x 256 |" in (folder / "gpu.md").read_text()


def test_a_share_of_a_limit_is_of_the_device_that_it_was_measured_on(folder: Path) -> None:
    report = read_report(folder / "gpu.json")
    here = report.steps["environment"]
    shares = [render(report)]
    report.steps["environment"] = replace(here, inputs={**here.inputs, "device": "another"})
    shares.append(render(report))
    rows = [
        next(line for line in page.splitlines() if line.startswith(f"| {STEPS['profile'].title} ")) for page in shares
    ]
    assert [float(rows[0].split("|")[-2]) > 0, rows[1].split("|")[-2].strip()] == [True, "-"]


def test_engines_are_measured_beside_each_other(folder: Path) -> None:
    found = figures(folder, "engine")
    assert found.keys() == ENGINES
    for rates in found.values():
        assert rates.keys() == {"1", "8"}
        assert min(rates.values()) > 0


def test_the_service_is_measured_with_each_engine_and_with_the_one_it_chooses(folder: Path) -> None:
    servers = figures(folder, "service")["servers"]
    assert {server["asked"] for server in servers} == {*ENGINES, "auto"}
    for server in servers:
        assert (server["engine"] == server["asked"]) == (server["workers"] == 1)
        assert server["engine_images_per_second"] > 0
        for load, images in zip(server["loads"], (1, 16), strict=True):
            assert (load["images"], load["refused"]) == (images, 0)
            assert 0 < load["p50_ms"] <= load["p99_ms"]
            assert load["images_per_second"] > 0
            fewest = min(4, images / available_cores())  # cores share a request; one that is done takes a few at least
            assert fewest <= load["mean_batch_images"] <= 16
            assert load["mean_wait_ms"] > 0


def test_parity_is_that_of_the_export(folder: Path) -> None:
    agreed = figures(folder, "parity")["agreed"]
    assert [file["file"] for file in agreed] == ["onnx-fp32", "torchscript-fp32"]
    for file in agreed:
        assert all(difference <= allowed + 1e-12 for difference, allowed in file["checks"].values())


def test_a_file_that_cannot_be_compared_keeps_no_other_from_it(
    folder: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(context: Context, arithmetic: Arithmetic, key: str, *rest: Any, whole: Any = parity.check) -> Any:
        if key == "onnx-fp32":
            raise RuntimeError("The device has gone.")
        return whole(context, arithmetic, key, *rest)

    monkeypatch.setattr(parity, "check", check)
    context = Context(device="cpu", miniature=True, data=tiny_data, data_name="tiny", work=folder / "work")
    outcome = parity.run(context)
    assert [file["file"] for file in outcome.figures["agreed"]] == ["torchscript-fp32"]
    assert outcome.missing == ["onnx-fp32 in fp32: The device has gone."]


def test_a_server_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    callers.keep(Barrier(1))
    monkeypatch.setattr(callers, "_ANSWER_SECONDS", 0.1)
    with socket.create_server((HOST, 0)) as silent, pytest.raises(TimeoutError):
        callers.ask(silent.getsockname()[1], Workload("text/plain", [b"hello"], []), number=0, seconds=1)


def test_where_every_request_is_refused_the_first_reason_is_told() -> None:
    class Busy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(429)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"busy")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Busy) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(InputError, match=r"^All \d+ requests of 2 callers were refused: 429 busy$"):
                callers.call(
                    server.server_port,
                    Workload("text/plain", [b"hello"], [np.zeros((1, 10), np.float32)]),
                    callers=2,
                    seconds=0.1,
                )
        finally:
            server.shutdown()
            thread.join()


def test_of_a_server_that_dies_it_is_told_how_and_why(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SERVERS, OURS, ("bench.peers.no_such_peer",))
    context = Context(device="cpu", miniature=True, data=tiny_data, data_name=None, work=tmp_path)
    outcome = service.run(context)
    assert outcome.figures == {}
    assert len(outcome.missing) == len(ENGINES) + 1
    for line in outcome.missing:
        assert re.search(r"The server stopped with code 1\. Its log ends: \.\.\. .*No module named", line)


def test_a_recipe_is_trained_and_evaluated(folder: Path) -> None:
    found = figures(folder, RECIPE)
    assert found["data"] == "tiny"
    low, high = found["test_interval"]
    assert low <= found["test_accuracy"] <= high
    assert min(found[name] for name in ("seconds", "images_per_second", "flops_per_image", "bytes_per_image")) > 0


def test_what_is_done_is_not_done_again_unless_asked(folder: Path, tiny_data: Path) -> None:
    before = figures(folder, "engine")
    assert "engine: done before" in ask(folder, tiny_data, "engine").splitlines()
    assert figures(folder, "engine") == before
    assert "engine: done, " in ask(folder, tiny_data, "engine", "--again")
    assert figures(folder, "engine") != before


def test_a_recipe_is_trained_anew_when_asked(folder: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(context: Context, *arguments: str | Path, log: Path) -> None:
        command(*arguments)  # spares loading torch

    monkeypatch.setattr(training, "command", run)
    where = ("--data", tiny_data, "--out", folder, "--work", folder / "work")
    monkeypatch.setattr("sys.argv", ["gpu", *MINIATURE, *map(str, where), RECIPE, "--again"])
    (last,) = folder.glob(f"work/{RECIPE}-*/last.pt")
    before = last.stat().st_mtime_ns
    main()
    assert last.stat().st_mtime_ns > before


def test_a_run_of_other_data_or_versions_or_at_full_size_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(device="cpu", miniature=True, data=Path("data"), data_name=None, work=Path("work"))
    others = [replace(context, data_name="other"), replace(context, miniature=False)]
    folders = [folder_of(each, RECIPE) for each in (context, context, *others)]
    monkeypatch.setattr("bench.gpu.context.installed", lambda name: "1.0")
    folders.append(folder_of(context, RECIPE))
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


def test_a_recipe_that_learns_from_another_waits_for_it(tiny_data: Path, tmp_path: Path) -> None:
    context = Context(device="cpu", miniature=True, data=tiny_data, data_name=None, work=tmp_path)
    (missing,) = attempt("cifarnet-distilled", context).missing
    assert "it learns from a finished run of the recipe resnet18, and there is none" in missing


def test_a_step_that_fails_unexpectedly_is_told_in_a_line_and_the_next_one_runs(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(context: Context) -> Outcome:
        raise RuntimeError("The following operation failed.\nTraceback of it\nCUDA error: out of memory")

    monkeypatch.setitem(STEPS, "environment", replace(STEPS["environment"], run=fail))
    freed: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(True))
    context = Context(device="cpu", miniature=True, data=tiny_data, data_name=None, work=tmp_path)
    outcome = attempt("environment", context)
    assert freed  # for the next one
    assert outcome.status == "not run"
    assert list(outcome.missing) == [
        f"The following operation failed. ... CUDA error: out of memory ({tmp_path / 'environment.error'} has more)"
    ]
    assert "in fail" in (tmp_path / "environment.error").read_text()


@pytest.mark.parametrize(("free", "taken"), [(100 * 2**30, 4 * 2**30), (4 * 2**30, 2**30)])
def test_what_is_copied_fits_into_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, taken: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 141 * 2**30))
    context = Context(device="cuda", miniature=False, data=Path("data"), data_name=None, work=Path("work"))
    assert copy_bytes(context) == taken


def test_a_step_says_what_it_could_not_run_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "data" / "test").mkdir(parents=True)
    said = ask(tmp_path, tmp_path / "data", RECIPE, "environment")
    record = json.loads((tmp_path / "gpu.json").read_text())["steps"][RECIPE]
    assert (record["status"], record["figures"]) == ("not run", {})
    assert "has test/ but no train/" in record["missing"][0]
    assert record["missing"][0] in said
    assert figures(tmp_path, "environment")


def test_a_page_that_cannot_be_written_loses_no_step(tmp_path: Path) -> None:
    (tmp_path / "gpu.md").mkdir()
    said = ask(tmp_path, tmp_path, "environment", "engine")
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"].keys() == {"environment", "engine"}
    assert f"{tmp_path / 'gpu.md'} is not written: " in said


def test_outside_a_git_checkout_the_page_says_that_the_revision_is_unknown(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nothing"))  # as if the source lay in no checkout
    ask(tmp_path, tiny_data, "profile")
    assert re.search(r"training step's time goes +\| \d{4}-\d\d-\d\d, unknown +\|", (tmp_path / "gpu.md").read_text())


def test_a_step_that_could_not_be_done_again_keeps_its_figures_and_goes_on(tmp_path: Path) -> None:
    report = Report("cpu", miniature=True)
    report.add("engine", Record("done", {"rate": 1}, [], {"torch": "1"}, 1.0, {}))
    report.add("engine", Record("not run", {}, ["it takes longer"], {"torch": "1"}, 1.0, {}))
    assert report.figures("engine") == {"rate": 1}
    assert report.steps["engine"].missing == ["it takes longer"]
    assert not report.is_done("engine", {"torch": "1"})


def test_the_page_lists_what_has_not_run(folder: Path) -> None:
    page = (folder / "gpu.md").read_text()
    assert "In miniature" in page
    for name, step in STEPS.items():
        assert (f"| `{name}` | {step.title} | not yet run |" in page) == (name not in RUN)


def test_the_page_that_is_committed_is_that_of_the_figures() -> None:
    report = read_report(ROOT / "docs" / "gpu.json")
    assert (report.device, report.miniature) == ("cuda", False)
    assert (ROOT / "docs" / "gpu.md").read_text() == render(report)  # python -m bench.gpu.page writes it anew


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "cpu", "nonsense"), "There is no step 'nonsense'. There are: environment"),
        (("--device", "cpu", "--miniature"), "docs/gpu.md is for a GPU's figures at full size"),
    ],
)
def test_wrong_input_is_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = command("bench.gpu", *arguments, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")


def test_figures_of_another_kind_are_not_mixed(folder: Path) -> None:
    done = command("bench.gpu", "--device", "cpu", "--out", folder, "environment", check=False)
    assert done.returncode == 2
    assert "is of runs on cpu in miniature, and these are others" in done.stderr
