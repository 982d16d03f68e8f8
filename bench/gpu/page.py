"""docs/gpu.md: what the steps found, and which have not run. python -m bench.gpu.page writes it from docs/gpu.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gpu import environment
from bench.gpu.context import PACKAGES, Context
from bench.gpu.record import Record, Report, read_report
from bench.gpu.steps import MODERN, SEEDS, STEPS
from bench.gpu.training import GOAL, PUBLISHED
from bench.serving.server import ROOT
from cifar_models.atomic import saving
from cifar_models.command import run_command
from export.figures import as_markdown
from training.options import DATA

_HEAD = """# What a GPU must prove

Made by `make gpu` (`python -m bench.gpu`), which needs one NVIDIA GPU and writes this page and `gpu.json` beside
it. Each step is laid out for 8 minutes and can be run alone, as in `make gpu ARGS=service` or `make gpu ARGS='seeds
--again'`; `--help` lists them. A step that is done on the same device, versions and inputs is not done again
unless asked, and the table says where the inputs have changed since; a training run that its time did not suffice for
goes on with the next call. CI runs a step of each kind on the CPU in miniature, but for that with torch.compile, so
that only the device is new on the day. TorchScript's files leave TF32 to the process since their gate was run here,
and were not run here again."""

_MINIATURE = """> **In miniature, on {device}: this shows that the steps run, and says nothing about any device.**"""
_CHOSEN = "Epochs were chosen on images that were held out of training; the test images chose nothing."
_LIMITS = """Seconds are those of the epochs, validation included; of what ran beside other trainings they are longer
than alone, and the shares smaller. The arithmetic's limit is the device's measured
bfloat16 rate over the operations of an image, forward and backward. The memory's is its measured
bandwidth over the bytes that an image's activations move in bfloat16: written and read forward, read
once more backward, their gradients written and read. Layers that are fused move less, so that a share
above 1 is possible. A teacher's answers, forward alone, count with the network that learns from them."""
_NOT_YET = "not yet run"
_NAMES = {"recipe": "recipe", "teacher": "teacher", "weights": "bundle"}  # of inputs that may change


def write_page(report: Report, folder: Path) -> None:
    with saving(folder / "gpu.md") as partial:
        partial.write_text(render(report))


def render(report: Report) -> str:
    """The whole page."""
    parts = [_HEAD]
    if report.miniature or report.device == "cpu":
        parts.append(_MINIATURE.format(device=report.device))
    parts += [f"## Steps\n\n{overview(report)}", *sections(report)]
    return "\n\n".join(parts) + "\n"


def overview(report: Report) -> str:
    return as_markdown([["step", "what", "state", "when, and what is missing"], *[row(report, name) for name in STEPS]])


def row(report: Report, name: str) -> list[str]:
    record = report.steps.get(name)
    if record is None:
        return [f"`{name}`", STEPS[name].title, _NOT_YET, ""]
    notes = [f", {word} {record.machine[word]}" for word in ("beside", "by") if word in record.machine]
    when = f"{record.machine['date'][:10]}, {record.seconds:.0f} s{''.join(notes)}"
    missing = "; ".join(record.missing).replace("\n", " ")
    state = "".join([record.status, *(f", of another {what}" for what in outdated(report, name))])
    return [f"`{name}`", STEPS[name].title, state, f"{when}: {missing}" if missing else when]


def outdated(report: Report, name: str) -> list[str]:
    """What the figures depend on that is another one today; of devices and versions the sections tell."""
    found = report.steps[name].inputs
    context = Context(
        device=report.device, miniature=report.miniature, data=DATA, data_name=found.get("data"), work=Path()
    )
    today = json.loads(json.dumps(STEPS[name].inputs(context)))
    return [_NAMES[key] for key in today if key in _NAMES and key in found and not is_part(found[key], today[key])]


def is_part(old: Any, new: Any) -> bool:
    """Whether what was told then is so today; a recipe may have got a field since."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(new.get(key) == value for key, value in old.items())
    return bool(old == new)


def sections(report: Report) -> list[str]:
    """Of the steps that measured something."""
    found = []
    if figures := report.figures("environment"):
        table = as_markdown([["", ""], *environment.render(figures)])
        found.append(f"## Device\n\n{origin(report.steps['environment'])}\n\n{table}")
    if names := [name for name in ("profile", "profile-compiled") if report.figures(name)]:
        found.append(f"## A training step\n\n{origins(report, names)}\n\n{profiles(report, names)}")
    if figures := report.figures("engine"):
        found.append(f"## Engines alone\n\n{origin(report.steps['engine'])}\n\n{engines(figures)}")
    if figures := report.figures("service"):
        found.append(f"## The service under load\n\n{origin(report.steps['service'])}\n\n{service(figures)}")
    if figures := report.figures("parity"):
        found.append(f"## Parity\n\n{origin(report.steps['parity'])}\n\n{parity(figures)}")
    if names := [name for name in MODERN if report.figures(name)]:
        found.append(f"## Our recipes\n\n{origins(report, names)}\n\n{modern(report, names)}")
    if names := [name for name in SEEDS if report.figures(name)]:
        found.append(f"## Recipes of the tutorials\n\n{origins(report, names)}\n\n{seeds(report)}")
    return found


def origins(report: Report, names: Sequence[str]) -> str:
    """Where the rows of a table come from, when they come from several places."""
    places: dict[str, list[str]] = {}
    for name in names:
        places.setdefault(place(report.steps[name]), []).append(f"`{name}`")
    if len(places) == 1:
        return f"{next(iter(places))}."
    return "\n".join(f"- {', '.join(rows)}: {where}." for where, rows in places.items())


def origin(record: Record) -> str:
    machine = record.machine
    weights = f", the bundle with weights {record.inputs['weights'][:12]}" if "weights" in record.inputs else ""
    return f"{place(record)}, {machine['date']}, revision {machine['revision']}{weights}."


def when(record: Record) -> str:
    return f"{record.machine['date'][:10]}, {record.machine['revision'][:7]}"


def place(record: Record) -> str:
    versions = ", ".join(f"{name} {record.inputs[name]}" for name in PACKAGES if name in record.inputs)
    return f"{record.inputs['device']}, {record.machine['cpu']}, {record.machine['cores']} cores, {versions}"


def profiles(report: Report, names: Sequence[str]) -> str:
    """What the device did in a step, in milliseconds, and its share of what it could do."""
    found = {name: report.figures(name) for name in names}
    kinds = list(dict.fromkeys(kind for figures in found.values() for kind in figures["kernel_seconds"]))
    rows = []
    for name, figures in found.items():
        kernels, step, rate = figures["kernel_seconds"], figures["step_seconds"], figures["images_per_second"]
        share = share_of(rate * figures["flops_per_image"], measured_where(report, name), "bf16_flops")
        times = [f"{1000 * kernels[kind]:.2f}" if kind in kernels else "-" for kind in kinds]
        rows.append([STEPS[name].title, when(report.steps[name]), f"{rate:,.0f}", f"{1000 * step:.2f}", *times, share])
    head = ["", "when, by revision", "images/s", "step, ms", *kinds, "of the bfloat16 rate"]
    text = (
        f"ResNet-18 by its recipe, batches of {found[names[0]]['batch']}, random images; by kind of kernel, "
        "where Muon's products are among the matrix products."
    )
    return f"{text}\n\n{as_markdown([head, *rows])}"


def engines(figures: dict[str, Any]) -> str:
    sizes = list(next(iter(figures.values())))
    rows = [[name, *(f"{rates[size]:,.0f}" for size in sizes)] for name, rates in figures.items()]
    return as_markdown([["images/s, batches of", *sizes], *rows])


def service(figures: dict[str, Any]) -> str:
    head = ["engine", "workers", "images a request", "callers", "images/s", "p50 ms", "p99 ms", "refused"]
    rows = []
    for server in figures["servers"]:
        chosen = f"{server['engine']}{', chosen by itself' if server['asked'] != server['engine'] else ''}"
        for load in server["loads"]:
            rate, alone = load["images_per_second"], server["engine_images_per_second"]
            counts = [str(server["workers"]), str(load["images"]), str(load["callers"]), f"{rate:,.0f}"]
            times = [f"{load['p50_ms']:.1f}", f"{load['p99_ms']:.1f}", str(load["refused"])]
            told = [f"{load['mean_batch_images']:.1f}", f"{load['mean_wait_ms']:.2f}"]
            rows.append([chosen, *counts, *times, *told, f"{rate / alone:.2f}"])
    text = (
        "Single pictures are PNG in a form, the others raw pixels; every answer was checked after its time. Images in "
        "a batch and milliseconds in the queue are means, as the server's own metrics tell them. In the last column "
        "the engine is alone in one process and computes batches as large as the larger requests."
    )
    return f"{text}\n\n{as_markdown([[*head, 'images in a batch', 'in the queue, ms', 'of the engine alone'], *rows])}"


def parity(figures: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for file in figures["agreed"] for name in file["checks"]))
    rows = [
        [file["file"], file["arithmetic"], file["provider"], *(cell(file["checks"].get(name)) for name in names)]
        for file in figures["agreed"]
    ]
    text = (
        f"Of a network of the recipe `{figures['recipe']}`, the largest differences from eager PyTorch, float32, on "
        f"the CPU, and what is allowed; {figures['images']} images."
    )
    return f"{text}\n\n{as_markdown([['file', 'arithmetic', 'computed by', *names], *rows])}"


def cell(check: Sequence[float] | None) -> str:
    return "-" if check is None else f"{check[0]:.1e} of {check[1]:.1e}" if check[1] is not None else f"{check[0]:.1e}"


def measured_where(report: Report, name: str) -> dict[str, Any]:
    """What was measured of the device that a step ran on; nothing if that was of another one."""
    measured, step = report.steps.get("environment"), report.steps[name]
    return measured.figures if measured and measured.inputs["device"] == step.inputs["device"] else {}


def share_of(rate: float, device: dict[str, Any], limit: str) -> str:
    """Of the device's measured limit; "-" where that is not known."""
    return f"{rate / device[limit]:.2f}" if limit in device else "-"


def modern(report: Report, names: Sequence[str]) -> str:
    head = [
        "recipe",
        "when, by revision",
        "data",
        "epochs",
        "test accuracy",
        "seconds",
        f"seconds to {GOAL:.0%} of validation",
        "images/s",
    ]
    limits = ["of the arithmetic's limit", "of the memory's limit"]
    rows = []
    for name in names:
        found = report.figures(name)
        to_goal, rate = found["seconds_to_goal"], found["images_per_second"]
        reached = "not reached" if to_goal is None else f"{to_goal:.1f}"
        texts = [
            when(report.steps[name]),
            found["data"],
            str(found["epochs"]),
            accuracy(found),
            f"{found['seconds']:.1f}",
            reached,
            f"{rate:,.0f}",
        ]
        device = measured_where(report, name)
        shares = [share_of(rate * found["flops_per_image"], device, "bf16_flops")]
        shares.append(share_of(rate * found["bytes_per_image"], device, "bytes_per_second"))
        rows.append([f"`{name}`", *texts, *shares])
    return f"{_CHOSEN}\n{_LIMITS}\n\n{as_markdown([[*head, *limits], *rows])}"


def seeds(report: Report) -> str:
    rows = []
    for name in SEEDS:
        found, published = report.figures(name), PUBLISHED.get(name)
        texts = [_NOT_YET, "", "", "", ""]
        if found:
            texts = [accuracy(found), found["data"], f"{found['epochs']}, the {found['chosen']}. chosen"]
            texts += [f"{found['seconds']:.0f}", when(report.steps[name])]
        rows.append([f"`{name}`", *texts, f"{published:.1%}" if published else "no figure"])
    head = ["recipe", "test accuracy (95 %)", "data", "epochs", "seconds", "when, by revision"]
    head.append("the tutorial says, on the original")
    text = f"{_CHOSEN}\nThe tutorials 000 and 001 chose on their test images."
    return f"{text}\n\n{as_markdown([head, *rows])}"


def accuracy(found: dict[str, Any]) -> str:
    low, high = found["test_interval"]
    return f"{found['test_accuracy']:.2%} ({low:.2%} to {high:.2%})"


if __name__ == "__main__":
    run_command(lambda: write_page(read_report(ROOT / "docs" / "gpu.json"), ROOT / "docs"))
