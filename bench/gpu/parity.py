"""The export's gate on the device: every file that CUDA runs, in every arithmetic, against eager PyTorch on the CPU."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.gpu.context import Context
from bench.gpu.environment import first_line
from bench.gpu.record import Outcome
from bench.gpu.training import Unfinished, train
from cifar_models.manifest import Parity
from export.bundle import write_files
from export.formats import FORMATS, open_runner
from export.parity import Evidence, check_parity
from export.reference import build_reference
from export.runner import Target
from export.source import load_source

RECIPE = "cifarnet"


def inputs(context: Context) -> dict[str, Any]:
    return {"recipe": RECIPE}


def run(context: Context) -> Outcome:
    try:
        folder = train(context, RECIPE)
    except Unfinished as error:
        return Outcome({}, [f"it compares a checkpoint of the recipe {RECIPE}, and there is none: {error}"])
    source = load_source(folder / "best.pt", context.data)
    reference = build_reference(source.checkpoint, source.validation)
    evidence = Evidence(reference, source.validation)
    keys = [key for key, format_ in FORMATS.items() if format_.arithmetics]
    agreed, missing = [], []
    with TemporaryDirectory(prefix="bench-parity-") as written:
        write_files(reference, source, Path(written), RECIPE, keys)
        for key in keys:
            path = Path(written) / FORMATS[key].file
            for target in targets(context, key):
                what = f"{key} in {target.arithmetic}"
                try:
                    agreement = check_parity(key, partial(open_runner, key, path), evidence, target)
                except Exception as error:  # it disagrees, or its library does not run here
                    missing.append(f"{what}: {first_line(error)}")
                else:
                    agreed.append(describe(key, target, agreement.parity))
    return Outcome({"images": len(source.validation), "agreed": agreed} if agreed else {}, missing)


def targets(context: Context, key: str) -> list[Target]:
    if not context.cuda:
        return [Target()]
    return [Target(device="cuda", arithmetic=arithmetic) for arithmetic in FORMATS[key].arithmetics]


def describe(key: str, target: Target, parity: Parity) -> dict[str, Any]:
    checks = {check.name: [check.difference, check.allowed] for check in parity.checks}
    return {"file": key, "arithmetic": target.arithmetic, "provider": parity.provider, "checks": checks}
